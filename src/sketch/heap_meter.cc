#include "sketch/heap_meter.h"

#include <utility>

#include "sketch/metered_internal.h"

namespace millrace::sketch {
namespace {

thread_local std::int64_t* innermost = nullptr;

}  // namespace

HeapMeter::HeapMeter(std::int64_t* bytes) : outer_(std::exchange(innermost, bytes)) {}
HeapMeter::~HeapMeter() { innermost = outer_; }

void CountHeap(std::int64_t bytes) {
  if (innermost != nullptr) *innermost += bytes;
}

}  // namespace millrace::sketch
