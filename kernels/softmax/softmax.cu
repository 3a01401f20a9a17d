// The ladder, rung by rung, and which of them runs by default.
#include "kernels/softmax/softmax.cuh"

namespace heed::kernels::cuda {
namespace {

// Rows are few when most multiprocessors would have none, and long when a block's registers do not hold one.
constexpr std::int64_t few_rows = 64;

template <class Function>
bool by_shape(const View& x, const View& y, int axis, Stream stream) {
  const Rows<2> rows({x, y}, axis);
  if (!rows.contiguous()) return columns<Function>(x, y, axis, stream);
  if (row_in_registers<Function>(x, y, axis, stream)) return true;
  if (rows.count < few_rows && split_rows<Function>(x, y, axis, stream)) return true;
  return row_in_shared_memory<Function>(x, y, axis, stream) || online<Function>(x, y, axis, stream);
}

template <class Function>
bool by_shape_backward(const View& y, const View& dy, const View& dx, int axis, Stream stream) {
  const Rows<3> rows({y, dy, dx}, axis);
  if (!rows.contiguous()) return columns_backward<Function>(y, dy, dx, axis, stream);
  if (row_in_registers_backward<Function>(y, dy, dx, axis, stream)) return true;
  if (rows.count < few_rows && split_rows_backward<Function>(y, dy, dx, axis, stream)) return true;
  return two_reads_backward<Function>(y, dy, dx, axis, stream);
}

// A rung as a variant: what it leaves (f64, mostly) goes to the first rung.
template <class Function, Forward rung>
void forward(View x, View y, int axis, Stream stream) {
  if (x.size() == 0) return;
  if (!rung(x, y, axis, stream)) thread_per_row<Function>(x, y, axis, stream);
}

template <class Function, Backward rung>
void backward(View y, View dy, View dx, int axis, Stream stream) {
  if (y.size() == 0) return;
  if (!rung(y, dy, dx, axis, stream)) thread_per_row_backward<Function>(y, dy, dx, axis, stream);
}

constexpr DeviceType gpu = DeviceType::cuda;
const Register rungs[] = {
    {softmax_forward, gpu, "thread_per_row", &forward<Softmax, thread_per_row<Softmax>>},
    {softmax_forward, gpu, "block_per_row", &forward<Softmax, block_per_row>},
    {softmax_forward, gpu, "warp_shuffles", &forward<Softmax, warp_shuffles>},
    {softmax_forward, gpu, "vectors", &forward<Softmax, vectors>},
    {softmax_forward, gpu, "row_in_registers", &forward<Softmax, row_in_registers<Softmax>>},
    {softmax_forward, gpu, "row_in_shared_memory", &forward<Softmax, row_in_shared_memory<Softmax>>},
    {softmax_forward, gpu, "online", &forward<Softmax, online<Softmax>>},
    {softmax_forward, gpu, "split_rows", &forward<Softmax, split_rows<Softmax>>},
    {softmax_forward, gpu, "columns", &forward<Softmax, columns<Softmax>>},
    {softmax_forward, gpu, "by_shape", &forward<Softmax, by_shape<Softmax>>, is_default},

    {softmax_backward, gpu, "thread_per_row", &backward<Softmax, thread_per_row_backward<Softmax>>},
    {softmax_backward, gpu, "row_in_registers", &backward<Softmax, row_in_registers_backward<Softmax>>},
    {softmax_backward, gpu, "two_reads", &backward<Softmax, two_reads_backward<Softmax>>},
    {softmax_backward, gpu, "split_rows", &backward<Softmax, split_rows_backward<Softmax>>},
    {softmax_backward, gpu, "columns", &backward<Softmax, columns_backward<Softmax>>},
    {softmax_backward, gpu, "by_shape", &backward<Softmax, by_shape_backward<Softmax>>, is_default},

    {log_softmax_forward, gpu, "thread_per_row", &forward<LogSoftmax, thread_per_row<LogSoftmax>>},
    {log_softmax_forward, gpu, "row_in_registers", &forward<LogSoftmax, row_in_registers<LogSoftmax>>},
    {log_softmax_forward, gpu, "row_in_shared_memory", &forward<LogSoftmax, row_in_shared_memory<LogSoftmax>>},
    {log_softmax_forward, gpu, "online", &forward<LogSoftmax, online<LogSoftmax>>},
    {log_softmax_forward, gpu, "split_rows", &forward<LogSoftmax, split_rows<LogSoftmax>>},
    {log_softmax_forward, gpu, "columns", &forward<LogSoftmax, columns<LogSoftmax>>},
    {log_softmax_forward, gpu, "by_shape", &forward<LogSoftmax, by_shape<LogSoftmax>>, is_default},

    {log_softmax_backward, gpu, "thread_per_row", &backward<LogSoftmax, thread_per_row_backward<LogSoftmax>>},
    {log_softmax_backward, gpu, "row_in_registers", &backward<LogSoftmax, row_in_registers_backward<LogSoftmax>>},
    {log_softmax_backward, gpu, "two_reads", &backward<LogSoftmax, two_reads_backward<LogSoftmax>>},
    {log_softmax_backward, gpu, "split_rows", &backward<LogSoftmax, split_rows_backward<LogSoftmax>>},
    {log_softmax_backward, gpu, "columns", &backward<LogSoftmax, columns_backward<LogSoftmax>>},
    {log_softmax_backward, gpu, "by_shape", &backward<LogSoftmax, by_shape_backward<LogSoftmax>>, is_default},
};

}  // namespace
}  // namespace heed::kernels::cuda
