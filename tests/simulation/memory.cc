// Blocks of some sizes, each size with a list of those that are free; before each block its size. Nothing goes back to
// the system: a process lives for one seed.
#include "memory.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace millrace::simulation {
namespace {

constexpr std::size_t kAlignment = 16;
/// Up to here sizes are multiples of kAlignment, above it four lie between a power of two and the next.
constexpr std::size_t kSmallMax = 1024;
constexpr std::size_t kSmallSizes = kSmallMax / kAlignment;
constexpr int kSmallBits = 10;
constexpr std::size_t kSizes = kSmallSizes + 4 * (48 - kSmallBits);
constexpr std::size_t kChunk = 32 << 20;
constexpr std::size_t kHugePage = 2 << 20;

/// Before what the caller has. Of a block that is aligned more than others `skipped` lies before it.
struct Header {
  std::uint32_t size = 0;  ///< Its number.
  std::uint32_t skipped = 0;
  std::uint64_t padding = 0;
};
static_assert(sizeof(Header) == kAlignment);

struct Free {
  Free* next;
};

Free* free_blocks[kSizes];
char* chunk_next = nullptr;
char* chunk_end = nullptr;
bool takes_turns = false;
std::atomic_flag busy;

class Guard {
 public:
  Guard() {
    while (!takes_turns && busy.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~Guard() { busy.clear(std::memory_order_release); }
};

std::size_t SizeNumber(std::size_t bytes) {
  if (bytes <= kSmallMax) return bytes == 0 ? 0 : (bytes - 1) / kAlignment;
  const int bits = static_cast<int>(std::bit_width(bytes - 1)) - 1;  // 2^bits < bytes <= 2^(bits + 1).
  const std::size_t quarter = ((bytes - 1) >> (bits - 2)) & 3;
  return kSmallSizes + 4 * static_cast<std::size_t>(bits - kSmallBits) + quarter;
}

std::size_t BytesOf(std::size_t size) {
  if (size < kSmallSizes) return (size + 1) * kAlignment;
  const std::size_t above = size - kSmallSizes;
  const std::size_t power = std::size_t{1} << (kSmallBits + above / 4);
  return power + (above % 4 + 1) * (power / 4);
}

char* MapMore(std::size_t bytes) {
  const std::size_t wanted = bytes + kHugePage;
  void* const mapped =
      ::mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto begin = (reinterpret_cast<std::uintptr_t>(mapped) + kHugePage - 1) / kHugePage * kHugePage;
  ::madvise(reinterpret_cast<void*>(begin), bytes, MADV_HUGEPAGE);
  return reinterpret_cast<char*>(begin);
}

// Zeroes, if `is_new`.
Header* Take(std::size_t bytes, bool* is_new) {
  const std::size_t size = SizeNumber(bytes);
  if (size >= kSizes) return nullptr;
  const Guard guard;
  *is_new = false;
  if (Free* const first = free_blocks[size]; first != nullptr) {
    free_blocks[size] = first->next;
    return reinterpret_cast<Header*>(first) - 1;
  }
  *is_new = true;
  const std::size_t whole = sizeof(Header) + BytesOf(size);
  Header* header = nullptr;
  if (whole >= kChunk) {
    header = reinterpret_cast<Header*>(MapMore(whole));
  } else {
    if (static_cast<std::size_t>(chunk_end - chunk_next) < whole) {
      chunk_next = MapMore(kChunk);
      chunk_end = chunk_next == nullptr ? nullptr : chunk_next + kChunk;
    }
    if (chunk_next != nullptr) {
      header = reinterpret_cast<Header*>(chunk_next);
      chunk_next += whole;
    }
  }
  if (header != nullptr) *header = {.size = static_cast<std::uint32_t>(size)};
  return header;
}

void* Allocate(std::size_t bytes, bool* is_new) {
  Header* const header = Take(bytes, is_new);
  if (header != nullptr) return header + 1;
  errno = ENOMEM;
  return nullptr;
}

void* AllocateAligned(std::size_t alignment, std::size_t bytes) {
  bool is_new = false;
  if (alignment <= kAlignment) return Allocate(bytes, &is_new);
  auto* const block = static_cast<char*>(Allocate(bytes + alignment, &is_new));
  if (block == nullptr) return nullptr;
  const auto begin = reinterpret_cast<std::uintptr_t>(block);
  const std::uintptr_t aligned = (begin + alignment - 1) / alignment * alignment;
  if (aligned == begin) return block;
  auto* const header = reinterpret_cast<Header*>(aligned) - 1;
  *header = {.size = reinterpret_cast<Header*>(block)[-1].size, .skipped = static_cast<std::uint32_t>(aligned - begin)};
  return reinterpret_cast<void*>(aligned);
}

void Release(void* given) {
  if (given == nullptr) return;
  const Header header = static_cast<Header*>(given)[-1];
  auto* const block = reinterpret_cast<Free*>(static_cast<char*>(given) - header.skipped);
  const Guard guard;
  block->next = free_blocks[header.size];
  free_blocks[header.size] = block;
}

std::size_t Usable(const void* given) {
  const Header& header = static_cast<const Header*>(given)[-1];
  return BytesOf(header.size) - header.skipped;
}

}  // namespace

void BeginTakingTurns() {
  takes_turns = true;
  std::fill(std::begin(free_blocks), std::end(free_blocks), nullptr);
  chunk_next = chunk_end = nullptr;
}

}  // namespace millrace::simulation

namespace sim = millrace::simulation;

extern "C" {

void* malloc(size_t bytes) {
  bool is_new = false;
  return sim::Allocate(bytes, &is_new);
}

void free(void* given) { sim::Release(given); }

void* calloc(size_t count, size_t each) {
  size_t bytes = 0;
  bool is_new = false;
  if (__builtin_mul_overflow(count, each, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  void* const block = sim::Allocate(bytes, &is_new);
  if (block != nullptr && !is_new) std::memset(block, 0, bytes);
  return block;
}

void* realloc(void* given, size_t bytes) {
  if (given == nullptr) return malloc(bytes);
  const size_t usable = sim::Usable(given);
  if (bytes <= usable) return given;
  void* const moved = malloc(bytes);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, given, usable);
  free(given);
  return moved;
}

int posix_memalign(void** out, size_t alignment, size_t bytes) {
  *out = sim::AllocateAligned(alignment, bytes);
  return *out == nullptr ? ENOMEM : 0;
}
void* aligned_alloc(size_t alignment, size_t bytes) { return sim::AllocateAligned(alignment, bytes); }
void* memalign(size_t alignment, size_t bytes) { return sim::AllocateAligned(alignment, bytes); }
size_t malloc_usable_size(void* given) { return given == nullptr ? 0 : sim::Usable(given); }

}  // extern "C"
