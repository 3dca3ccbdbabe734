/// How much heap sketches take, without asking each of them: what they allocate on a thread is counted where it
/// happens.
#pragma once

#include <cstdint>

namespace millrace::sketch {

/// While it lives, what sketches take on this thread is added to `*bytes`, and what they give back is subtracted.
///
/// Of the innermost meter if there are several; without one nothing is counted. A sketch that is changed under one
/// meter must be destroyed under another of the same `*bytes`, or together with it.
class HeapMeter {
 public:
  explicit HeapMeter(std::int64_t* bytes);
  HeapMeter(const HeapMeter&) = delete;
  HeapMeter& operator=(const HeapMeter&) = delete;
  ~HeapMeter();

 private:
  std::int64_t* const outer_;
};

}  // namespace millrace::sketch
