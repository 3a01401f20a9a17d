// Between the machine's memory and a device's, data go through page-locked buffers: only from those can a device read on
// its own, while the program goes on.
#include "engine/transfer.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/error.h"
#include "kernels/cuda/device.h"

namespace heed {
namespace {

namespace cuda = kernels::cuda;

constexpr std::size_t piece_bytes = 4 << 20;

// A page-locked buffer, and the point in a stream after which it is free again.
class StagingBuffer {
 public:
  StagingBuffer(int device, std::size_t bytes)
      : bytes_(bytes), free_after_(device), data_(cuda::allocate_pinned(bytes)) {
    check(data_ != nullptr, "transfer: no {} bytes of page-locked memory", bytes);
  }
  ~StagingBuffer() { cuda::release_pinned(data_); }
  StagingBuffer(const StagingBuffer&) = delete;
  StagingBuffer& operator=(const StagingBuffer&) = delete;

  void* data() const { return data_; }
  bool fits(std::size_t bytes) const { return bytes <= bytes_ && bytes_ <= std::max<std::size_t>(4 * bytes, 4096); }
  bool is_free() const { return free_after_.is_done(); }
  void use_in(Stream stream) { free_after_.record(stream); }

 private:
  std::size_t bytes_;
  cuda::Event free_after_;
  void* data_;
};

// The buffers of one device. As many as copies are under way, and no fewer than there once were.
class StagingPool {
 public:
  explicit StagingPool(int device) : device_(device) {}

  std::unique_ptr<StagingBuffer> take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(buffers_.begin(), buffers_.end(),
                                    [&](const auto& buffer) { return buffer->fits(bytes) && buffer->is_free(); });
    if (found == buffers_.end()) {
      std::size_t capacity = 4096;
      while (capacity < bytes) capacity *= 2;
      return std::make_unique<StagingBuffer>(device_, capacity);
    }
    std::unique_ptr<StagingBuffer> buffer = std::move(*found);
    buffers_.erase(found);
    return buffer;
  }

  void give_back(std::unique_ptr<StagingBuffer> buffer) {
    const std::lock_guard lock(mutex_);
    buffers_.push_back(std::move(buffer));
  }

 private:
  int device_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<StagingBuffer>> buffers_;
};

// Never destroyed: the CUDA runtime may be gone before this program's statics are.
StagingPool& staging_for(int device) {
  static std::mutex mutex;
  static auto& pools = *new std::vector<std::unique_ptr<StagingPool>>;
  const std::lock_guard lock(mutex);
  while (static_cast<int>(pools.size()) <= device)
    pools.push_back(std::make_unique<StagingPool>(static_cast<int>(pools.size())));
  return *pools[static_cast<std::size_t>(device)];
}

void upload(const std::byte* from, std::byte* to, std::size_t bytes, Stream stream) {
  StagingPool& pool = staging_for(stream.device.index);
  for (std::size_t done = 0; done < bytes; done += piece_bytes) {
    const std::size_t piece = std::min(piece_bytes, bytes - done);
    std::unique_ptr<StagingBuffer> buffer = pool.take(piece);
    std::memcpy(buffer->data(), from + done, piece);
    cuda::copy_to_device(to + done, buffer->data(), piece, stream);
    buffer->use_in(stream);
    pool.give_back(std::move(buffer));
  }
}

void download(const std::byte* from, std::byte* to, std::size_t bytes, Stream stream) {
  StagingPool& pool = staging_for(stream.device.index);
  for (std::size_t done = 0; done < bytes; done += piece_bytes) {
    const std::size_t piece = std::min(piece_bytes, bytes - done);
    std::unique_ptr<StagingBuffer> buffer = pool.take(piece);
    cuda::copy_from_device(buffer->data(), from + done, piece, stream);
    cuda::synchronize(stream);
    std::memcpy(to + done, buffer->data(), piece);
    pool.give_back(std::move(buffer));
  }
}

}  // namespace

void transfer(const View& from, const View& to) {
  const auto bytes = static_cast<std::size_t>(from.size()) * size_of(from.dtype);
  const auto* source = from.as<const std::byte>();
  auto* target = to.as<std::byte>();
  if (bytes == 0) return;
  if (from.device.type == DeviceType::cpu) return upload(source, target, bytes, {to.device, nullptr});
  if (to.device.type == DeviceType::cpu) return download(source, target, bytes, {from.device, nullptr});
  // The target's stream goes on when the copy, queued on the source's, is done.
  const Stream stream{from.device, nullptr};
  cuda::Event copied(from.device.index);
  cuda::copy_between_devices(target, to.device.index, source, bytes, stream);
  copied.record(stream);
  copied.wait_in({to.device, nullptr});
}

}  // namespace heed
