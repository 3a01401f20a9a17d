// Rung 1, reference: one query at a time, its scores in one row, everything in double. It says what is meant, and the
// other rungs are held against it.
#include <cmath>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/reference.h"
#include "kernels/dtypes.h"

namespace heed::kernels {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

template <class T>
using Head = PlainHead<T>;

template <class T>
double dot(const Head<T>& a, std::int64_t i, const Head<T>& b, std::int64_t j, std::int64_t n) {
  double sum = 0;
  for (std::int64_t d = 0; d < n; ++d) sum += a(i, d) * b(j, d);
  return sum;
}

template <class T>
struct Row : PlainRow {
  Head<T> q{in.query, sequence.batch, h, sequence.first_query};
  Head<T> k{in.key, sequence.batch, key_head, sequence.first_key};
  Head<T> v{in.value, sequence.batch, key_head, sequence.first_key};

  double score_of(std::int64_t j, double* slope = nullptr) const {
    return score(dot(q, i, k, j, in.query.shape[3]), j, slope);
  }
};

// body(row) for every query of every sequence and head, in order within one of them.
template <class T, class Body>
void for_each_row(const PlainInputs& in, const Body& body) {
  const std::int64_t heads = in.query.shape[1], sequences = attention_sequences(in.query, in.options);
  for (std::int64_t sh = 0; sh < sequences * heads; ++sh) {
    Row<T> row{{in, sh / heads, sh % heads}};
    for (row.i = 0; row.i < row.sequence.queries; ++row.i) body(row);
  }
}

template <class T>
void forward_row(const Row<T>& row, const View& output, const View& log_sum_exp, std::vector<double>& weights) {
  const Head<T> out(output, row.sequence.batch, row.h, row.sequence.first_query);
  const AttentionSpan span = row.keys();
  double largest = -infinity, total = 0;
  for (std::int64_t j = span.begin; j < span.end; ++j) {
    weights[j] = row.score_of(j);
    if (!(weights[j] <= largest)) largest = weights[j];
  }
  const double from = largest == -infinity ? 0 : largest;
  for (std::int64_t j = span.begin; j < span.end; ++j) total += weights[j] = std::exp(weights[j] - from);
  for (std::int64_t d = 0; d < row.in.value.shape[3]; ++d) {
    double sum = 0;
    for (std::int64_t j = span.begin; j < span.end; ++j)
      if (weights[j] != 0) sum += weights[j] * row.dropout_factor(j) * row.v(j, d);
    out.set(row.i, d, total == 0 ? 0 : sum / total);
  }
  row.statistic(log_sum_exp) = static_cast<float>(largest == infinity ? infinity : from + std::log(total));
}

void forward_reference(View query, View key, View value, const AttentionOptions& options, View output, View log_sum_exp,
                       const AttentionWorkspace&, Stream) {
  with_type(Types<float, BFloat16, Float16>{}, query.dtype, [&]<class T>(T) {
    std::vector<double> weights(static_cast<std::size_t>(key.shape[2]));
    for_each_row<T>({query, key, value, options},
                    [&](const Row<T>& row) { forward_row(row, output, log_sum_exp, weights); });
  });
}

// What the backwards know of a query before they look at its keys, and then of each of them.
template <class T>
struct RowGradient {
  const Row<T>& row;
  Head<T> dy;
  double log_sum_exp, delta = 0;

  RowGradient(const Row<T>& row, const View& output, const View& log_sum_exp, const View& doutput,
              const View& dlog_sum_exp)
      : row(row),
        dy(doutput, row.sequence.batch, row.h, row.sequence.first_query),
        log_sum_exp(static_cast<double>(row.statistic(log_sum_exp))) {
    const Head<T> y(output, row.sequence.batch, row.h, row.sequence.first_query);
    delta = dot(dy, row.i, y, row.i, row.in.value.shape[3]);
    if (dlog_sum_exp.data != nullptr) delta -= static_cast<double>(row.statistic(dlog_sum_exp));
  }

  // body(j, weight after dropout, dscore, slope of the softcap) for the keys that the query looks at.
  template <class Body>
  void for_each_key(const Body& body) const {
    if (log_sum_exp == -infinity) return;
    const AttentionSpan span = row.keys();
    for (std::int64_t j = span.begin; j < span.end; ++j) {
      double slope = 1;
      const double score = row.score_of(j, &slope);
      if (score == -infinity) continue;
      const double p = std::exp(score - log_sum_exp), factor = row.dropout_factor(j);
      body(j, p * factor, p * (dot(dy, row.i, row.v, j, row.in.value.shape[3]) * factor - delta), slope);
    }
  }
};

// A gradient as it grows: in double, rounded once at the end.
struct Sums {
  const View& view;
  std::vector<double> sums = std::vector<double>(static_cast<std::size_t>(view.size()));

  double* row(std::int64_t b, std::int64_t h, std::int64_t i) {
    return sums.data() + ((b * view.shape[1] + h) * view.shape[2] + i) * view.shape[3];
  }
  template <class T>
  void store() {
    for (std::int64_t bh = 0; bh < view.shape[0] * view.shape[1]; ++bh) {
      const Head<T> to(view, bh / view.shape[1], bh % view.shape[1], 0);
      for (std::int64_t i = 0; i < view.shape[2]; ++i)
        for (std::int64_t d = 0; d < view.shape[3]; ++d) to.set(i, d, row(0, bh, i)[d]);
    }
  }
};

void backward_reference(View query, View key, View value, const AttentionOptions& options, View output,
                        View log_sum_exp, View doutput, View dlog_sum_exp, View dquery, View dkey, View dvalue,
                        const AttentionWorkspace&, Stream) {
  with_type(Types<float, BFloat16, Float16>{}, query.dtype, [&]<class T>(T) {
    Sums dq{dquery}, dk{dkey}, dv{dvalue};
    for_each_row<T>({query, key, value, options}, [&](const Row<T>& row) {
      const RowGradient<T> gradient(row, output, log_sum_exp, doutput, dlog_sum_exp);
      const AttentionSequence& at = row.sequence;
      double* const dq_row = dq.row(at.batch, row.h, at.first_query + row.i);
      gradient.for_each_key([&](std::int64_t j, double weight, double dscore, double slope) {
        const double dproduct = dscore * slope * options.scale;
        double* const dk_row = dk.row(at.batch, row.key_head, at.first_key + j);
        double* const dv_row = dv.row(at.batch, row.key_head, at.first_key + j);
        for (std::int64_t d = 0; d < value.shape[3]; ++d) dv_row[d] += weight * gradient.dy(row.i, d);
        for (std::int64_t d = 0; d < query.shape[3]; ++d) {
          dq_row[d] += dproduct * row.k(j, d);
          dk_row[d] += dproduct * row.q(row.i, d);
        }
      });
    });
    dq.store<T>();
    dk.store<T>();
    dv.store<T>();
  });
}

void mask_gradient_reference(View query, View key, View value, const AttentionOptions& options, View output,
                             View log_sum_exp, View doutput, View dlog_sum_exp, View dmask, const AttentionWorkspace&,
                             Stream) {
  // The elements that differ, as a view without gaps in memory of its own.
  View whole = dmask;
  for (int axis = 0; axis < 4; ++axis)
    if (dmask.strides[axis] == 0) whole.shape[axis] = 1;
  Sums sums{whole};
  const auto at = [&](int axis, std::int64_t i) { return dmask.strides[axis] == 0 ? 0 : i; };
  with_type(Types<float, BFloat16, Float16>{}, query.dtype, [&]<class T>(T) {
    for_each_row<T>({query, key, value, options}, [&](const Row<T>& row) {
      const RowGradient<T> gradient(row, output, log_sum_exp, doutput, dlog_sum_exp);
      const AttentionSequence& sequence = row.sequence;
      double* const sum = sums.row(at(0, sequence.batch), at(1, row.h), at(2, sequence.first_query + row.i));
      gradient.for_each_key(
          [&](std::int64_t j, double, double dscore, double) { sum[at(3, sequence.first_key + j)] += dscore; });
    });
  });
  sums.store<float>();
}

const Register forward{attention_forward, DeviceType::cpu, "reference", &forward_reference};
const Register backward{attention_backward, DeviceType::cpu, "reference", &backward_reference};
const Register mask_gradient{attention_mask_gradient, DeviceType::cpu, "reference", &mask_gradient_reference};

}  // namespace
}  // namespace heed::kernels
