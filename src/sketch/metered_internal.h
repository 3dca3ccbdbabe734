/// The allocator of everything that a sketch keeps: it reports to the thread's HeapMeter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace millrace::sketch {

/// Added to the innermost HeapMeter of this thread; negative when given back.
void CountHeap(std::int64_t bytes);

/// About what the allocator's own bookkeeping makes of a request.
constexpr std::int64_t HeapSize(std::size_t bytes) { return static_cast<std::int64_t>((bytes + 15) / 16 * 16); }

template <typename T>
struct Metered {
  using value_type = T;

  Metered() = default;
  template <typename U>
  Metered(const Metered<U>& /*other*/) {}  // NOLINT(google-explicit-constructor): as allocators are.

  T* allocate(std::size_t count) {
    T* const memory = static_cast<T*>(::operator new(count * sizeof(T)));
    CountHeap(HeapSize(count * sizeof(T)));
    return memory;
  }
  void deallocate(T* memory, std::size_t count) {
    CountHeap(-HeapSize(count * sizeof(T)));
    ::operator delete(memory);
  }
  template <typename U>
  bool operator==(const Metered<U>& /*other*/) const {
    return true;
  }
};

/// For a sketch's own object.
struct MeteredObject {
  static void* operator new(std::size_t size) { return Metered<std::byte>().allocate(size); }
  static void operator delete(void* memory, std::size_t size) {
    Metered<std::byte>().deallocate(static_cast<std::byte*>(memory), size);
  }
};

}  // namespace millrace::sketch
