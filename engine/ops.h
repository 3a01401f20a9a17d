// Every operation of the engine, by name, with its shapes and errors. The operations are differentiable to any order
// unless one says otherwise. Their names, defaults and edge cases are PyTorch's wherever PyTorch has the thing.
//
// Common to all: tensors of one operation share a device and a dtype (no silent promotion: convert with .to(dtype)),
// shapes broadcast by NumPy's rule where the text says "broadcast", negative axes count from the end, axes of length 0
// and scalars of shape [] are fine. What does not fit throws heed::Error naming the operation and the shapes.
#pragma once

#include <optional>
#include <vector>

#include "engine/autograd.h"
#include "engine/random.h"
#include "engine/tensor.h"

namespace heed {

// ---- Creation (engine/ops/creation.cpp): leaves, outside any graph -------------------------------------------------

Tensor full(const Shape& shape, double value, TensorOptions options = {});
Tensor zeros(const Shape& shape, TensorOptions options = {});
Tensor ones(const Shape& shape, TensorOptions options = {});
Tensor full_like(const Tensor& x, double value);
Tensor zeros_like(const Tensor& x);
Tensor ones_like(const Tensor& x);
Tensor scalar(double value, TensorOptions options = {});  // of shape []
// start, start + step, ... up to but not including stop.
Tensor arange(double start, double stop, double step = 1, TensorOptions options = {Dtype::i64});
// `count` numbers from start to stop, both included.
Tensor linspace(double start, double stop, std::int64_t count, TensorOptions options = {});
// The identity matrix [n, n].
Tensor eye(std::int64_t n, TensorOptions options = {});
// 1 where the last axis of the result, of length `classes`, equals the index, else 0. index: integers in [0, classes).
Tensor one_hot(const Tensor& index, std::int64_t classes, Dtype dtype = Dtype::f32);

// Random leaves. Without a generator they draw from default_generator().
Tensor rand(const Shape& shape, TensorOptions options = {}, Generator* generator = nullptr);   // uniform in [0, 1)
Tensor randn(const Shape& shape, TensorOptions options = {}, Generator* generator = nullptr);  // standard normal
Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape,
               Generator* generator = nullptr);                   // i64 in [low, high)
Tensor randperm(std::int64_t n, Generator* generator = nullptr);  // i64: 0 to n - 1 in random order
// 1 with probability p, else 0.
Tensor bernoulli(const Shape& shape, double p, TensorOptions options = {}, Generator* generator = nullptr);

// ---- Elementwise (engine/ops/elementwise.cpp): operands broadcast --------------------------------------------------

Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);  // floating
Tensor pow(const Tensor& a, const Tensor& b);  // floating
Tensor pow(const Tensor& a, double b);
// The larger, the smaller. Where both are equal each gets half of the gradient. NaN if either is.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);

Tensor neg(const Tensor& x);
Tensor abs(const Tensor& x);  // gradient 0 at 0
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor rsqrt(const Tensor& x);  // 1 / sqrt(x)
Tensor erf(const Tensor& x);    // 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x
// x kept within [low, high]; no gradient outside.
Tensor clamp(const Tensor& x, double low, double high);
// a where condition (bool) holds, else b. The three broadcast.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
// x, but `value` where mask (bool, broadcasts to x) holds. -inf is a fine value.
Tensor masked_fill(const Tensor& x, const Tensor& mask, double value);
// The lower (upper) triangle of the last two axes, from the given diagonal on; 0 elsewhere.
Tensor tril(const Tensor& x, std::int64_t diagonal = 0);
Tensor triu(const Tensor& x, std::int64_t diagonal = 0);

// Comparisons: bool, no gradient. A comparison with NaN is false, but not_equal is true.
Tensor equal(const Tensor& a, const Tensor& b);
Tensor not_equal(const Tensor& a, const Tensor& b);
Tensor less(const Tensor& a, const Tensor& b);
Tensor less_equal(const Tensor& a, const Tensor& b);
Tensor greater(const Tensor& a, const Tensor& b);
Tensor greater_equal(const Tensor& a, const Tensor& b);
// On bool.
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& x);  // any dtype: x == 0

inline Tensor operator+(const Tensor& a, const Tensor& b) {
  return add(a, b);
}
inline Tensor operator-(const Tensor& a, const Tensor& b) {
  return sub(a, b);
}
inline Tensor operator*(const Tensor& a, const Tensor& b) {
  return mul(a, b);
}
inline Tensor operator/(const Tensor& a, const Tensor& b) {
  return div(a, b);
}
inline Tensor operator-(const Tensor& x) {
  return neg(x);
}
// A number takes the tensor's dtype.
inline Tensor operator+(const Tensor& a, double b) {
  return add(a, scalar(b, a.options()));
}
inline Tensor operator-(const Tensor& a, double b) {
  return sub(a, scalar(b, a.options()));
}
inline Tensor operator*(const Tensor& a, double b) {
  return mul(a, scalar(b, a.options()));
}
inline Tensor operator/(const Tensor& a, double b) {
  return div(a, scalar(b, a.options()));
}
inline Tensor operator+(double a, const Tensor& b) {
  return add(scalar(a, b.options()), b);
}
inline Tensor operator-(double a, const Tensor& b) {
  return sub(scalar(a, b.options()), b);
}
inline Tensor operator*(double a, const Tensor& b) {
  return mul(scalar(a, b.options()), b);
}
inline Tensor operator/(double a, const Tensor& b) {
  return div(scalar(a, b.options()), b);
}

// ---- Activations (engine/ops/activation.cpp) -----------------------------------------------------------------------

Tensor tanh(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor relu(const Tensor& x);  // gradient 0 at 0
Tensor silu(const Tensor& x);  // x sigmoid(x)
// x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016), by erf or the usual tanh approximation.
enum class GeluForm { erf, tanh };
Tensor gelu(const Tensor& x, GeluForm form = GeluForm::erf);

// ---- Reductions (engine/ops/reduce.cpp): `axes` empty means all ----------------------------------------------------
// The axes disappear, or stay with length 1 when keepdim.

Tensor sum(const Tensor& x, const Axes& axes = {}, bool keepdim = false);  // integers and bool give i64
Tensor mean(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
// The largest, the smallest. Equal ones share the gradient evenly (PyTorch's amax). Not over axes of length 0.
Tensor max(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
Tensor min(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
// The mean squared distance from the mean, over count - correction.
Tensor var(const Tensor& x, const Axes& axes = {}, double correction = 1, bool keepdim = false);
Tensor log_sum_exp(const Tensor& x, const Axes& axes = {}, bool keepdim = false);  // log(sum(exp(x))), without overflow
// The position (i64) of the first largest, smallest element along an axis. NaN counts as both. No gradient.
Tensor argmax(const Tensor& x, int axis, bool keepdim = false);
Tensor argmin(const Tensor& x, int axis, bool keepdim = false);
// Whether any, all elements are not zero: bool, no gradient.
Tensor any(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
Tensor all(const Tensor& x, const Axes& axes = {}, bool keepdim = false);
// x summed down to `shape`, from which it could have been broadcast: the gradient of broadcasting.
Tensor sum_to(const Tensor& x, const Shape& shape);

// ---- Softmax (engine/ops/softmax.cpp) ------------------------------------------------------------------------------

// exp(x) / sum(exp(x)) along `axis`. A row of -inf alone gives zeros and a zero gradient (PyTorch: NaN).
Tensor softmax(const Tensor& x, int axis);
// log(softmax(x)), without the loss of precision of computing it so.
Tensor log_softmax(const Tensor& x, int axis);

// ---- Joining and cutting (engine/ops/join.cpp); views are methods of Tensor ----------------------------------------

// Joins tensors along an existing axis; their other axes agree.
Tensor cat(const std::vector<Tensor>& tensors, int axis = 0);
// Joins tensors of one shape along a new axis.
Tensor stack(const std::vector<Tensor>& tensors, int axis = 0);
// Cuts an axis into consecutive views of these lengths, which sum to its length. One backward pass joins the gradients.
std::vector<Tensor> split(const Tensor& x, const std::vector<std::int64_t>& lengths, int axis = 0);
// ... into `parts` equal views.
std::vector<Tensor> chunk(const Tensor& x, int parts, int axis = 0);

// ---- Matrix products (engine/ops/matmul.cpp) -----------------------------------------------------------------------

// a [..., m, k] times b [..., k, n]: [..., m, n]. Leading axes broadcast. A vector a counts as [1, k], a vector b as
// [k, 1], and the axis so added disappears again (torch.matmul). Transposed views are read in place, not copied.
Tensor matmul(const Tensor& a, const Tensor& b);
// x [..., in] times the transpose of weight [out, in], plus bias [out] unless undefined: [..., out].
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

// ---- Indexing (engine/ops/indexing.cpp) ----------------------------------------------------------------------------
// Indices are i64 or i32 and lie within the axis they select from; none counts from the end.

// Rows of a table: weight [rows, ...] at index [...] gives [index shape..., ...]. Rows equal to padding_idx get no gradient.
// The backward touches the rows used and no others. With `sparse` (torch.nn.Embedding's word for it) a leaf weight that
// is used in no other way also keeps its gradient as those rows (Tensor::row_grad), and optimisers update them alone.
Tensor embedding(const Tensor& weight, const Tensor& index, std::optional<std::int64_t> padding_idx = {},
                 bool sparse = false);
// x at the positions index [n] of one axis, whose length becomes n.
Tensor index_select(const Tensor& x, int axis, const Tensor& index);
// y[p] = x[p, but index[p] along axis], for every position p of index (torch.gather).
Tensor gather(const Tensor& x, int axis, const Tensor& index);
// x with source[p] added at [p, but index[p] along axis]; positions may repeat (torch.scatter_add).
Tensor scatter_add(const Tensor& x, int axis, const Tensor& index, const Tensor& source);
// The k largest (or smallest) along the last axis, best first; equals in the order of their positions.
struct TopK {
  Tensor values;   // [..., k], differentiable
  Tensor indices;  // [..., k] i64
};
TopK topk(const Tensor& x, std::int64_t k, bool largest = true);

// ---- Normalisation and dropout (engine/ops/normalization.cpp, dropout.cpp) -----------------------------------------

// (x - mean) / sqrt(variance + eps) * weight + bias over the last axis; weight, bias [last] or undefined.
Tensor layer_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {}, double eps = 1e-5);
// x / sqrt(mean(x^2) + eps) * weight over the last axis; weight [last] or undefined.
Tensor rms_norm(const Tensor& x, const Tensor& weight = {}, double eps = 1e-6);
// Each element 0 with probability p, else divided by 1 - p. The same seed gives the same mask on every device.
Tensor dropout(const Tensor& x, double p, Generator* generator = nullptr);

// ---- Losses (engine/ops/loss.cpp) ----------------------------------------------------------------------------------

enum class Reduction { mean, sum, none };

// -log softmax(logits)[target], logits [n, classes], target [n] integers. Rows whose target is ignore_index don't count.
// weight [classes] scales each class, and the mean is then the weighted mean. label_smoothing in [0, 1) mixes the target
// with the uniform distribution. The mean over no rows is NaN. (torch.nn.functional.cross_entropy)
struct CrossEntropyOptions {
  Tensor weight = {};
  std::int64_t ignore_index = -100;
  double label_smoothing = 0;
  Reduction reduction = Reduction::mean;
};
Tensor cross_entropy(const Tensor& logits, const Tensor& target, const CrossEntropyOptions& options = {});

// Binary cross-entropy of sigmoid(logits) against target in [0, 1], of one shape; weight and pos_weight broadcast.
struct BceOptions {
  Tensor weight = {};
  Tensor pos_weight = {};  // multiplies the loss of the positive class
  Reduction reduction = Reduction::mean;
};
Tensor bce_with_logits(const Tensor& logits, const Tensor& target, const BceOptions& options = {});
// (input - target)^2, of one shape.
Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean);

// ---- Attention (engine/ops/attention.cpp) --------------------------------------------------------------------------

// Where query i of Sq may look when keys j run to Sk. top_left: j <= i. bottom_right: j <= i + Sk - Sq, which lines up
// the last query with the last key, as decoding wants it.
enum class Causal { none, top_left, bottom_right };

// fused: kernels that never hold all scores at once (kernels/attention). composed: of smaller operations, scores and all;
// what the fused kernels cannot do falls to it. automatic: fused where possible.
enum class AttentionPath { automatic, fused, composed };

struct AttentionOptions {
  Causal causal = Causal::none;
  Tensor mask = {};  // bool (true: may attend) or floating (added to the scores); broadcasts to [..., heads, Sq, Sk]
  Tensor key_lengths = {};   // i64 [batch]: keys at or beyond a sequence's length are not attended to
  std::int64_t window = -1;  // >= 0: only keys within this distance of the query (after causal alignment)
  double softcap = 0;        // > 0: softcap tanh(x / softcap) in place of each scaled product x, before any mask
  Tensor alibi_slopes = {};  // floating [heads] or [batch, heads]: slope |i - j| (after causal alignment) is subtracted
  // Packed sequences of different lengths, without padding: i64 [sequences + 1] both, from 0 to the number of tokens.
  // Sequence s has queries [query_starts[s], query_starts[s + 1]) and the keys likewise; it attends to itself alone,
  // and alignment, window and ALiBi count from where it starts.
  Tensor query_starts = {}, key_starts = {};
  std::int64_t longest_queries = 0, longest_keys = 0;  // of those sequences; 0: read from the starts
  double dropout = 0;                                  // on the weights
  std::optional<double> scale = {};                    // of the scores; 1 / sqrt(head_dim) unless given
  bool return_weights = false;
  bool return_log_sum_exp = false;
  Generator* generator = nullptr;
  AttentionPath path = AttentionPath::automatic;  // fused throws where it is not possible, saying why
};
struct Attention {
  Tensor output;       // [batch, heads, Sq, value_dim]
  Tensor weights;      // [batch, heads, Sq, Sk], after dropout, if asked for
  Tensor log_sum_exp;  // [batch, heads, Sq], of the masked scores, if asked for; of halves f32
};
// softmax(query key^T * scale + mask) value. query [batch, heads, Sq, head_dim], key [batch, key_heads, Sk, head_dim],
// value [batch, key_heads, Sk, value_dim]; heads a multiple of key_heads: each key head serves a group of query heads.
// A query that may attend to nothing gets zeros, log_sum_exp -inf and no gradient. Differentiable in query, key, value,
// a floating mask and alibi_slopes.
//
// Packed: query [query tokens, heads, head_dim], key and value [key tokens, key_heads, ...]; output [query tokens, heads,
// value_dim], log_sum_exp [heads, query tokens], and masks and weights are [heads, query tokens, key tokens].
// alibi_slopes are [heads] or [sequences, heads].
//
// The output lies in memory as query does: [batch, Sq, heads, ...] if query is a transposed view of that.
Attention scaled_dot_product_attention(const Tensor& query, const Tensor& key, const Tensor& value,
                                       const AttentionOptions& options = {});

}  // namespace heed
