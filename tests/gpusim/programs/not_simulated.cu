// What the simulator does not have it refuses by name, and with the code for it.
#include "tests/gpusim/programs/verify.h"

int main() {
  cudaGraph_t graph = nullptr;
  verify(cudaGraphCreate(&graph, 0) == cudaErrorNotSupported, "no graphs");
  cudaStream_t stream;
  check(cudaStreamCreate(&stream));
  verify(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaErrorNotSupported, "no capture");
  cudaStreamCaptureStatus status;
  check(cudaStreamIsCapturing(stream, &status));
  verify(status == cudaStreamCaptureStatusNone, "nothing is captured");
  check(cudaStreamDestroy(stream));
}
