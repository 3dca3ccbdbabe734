#include "base/memory_budget.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <utility>

extern "C" {
int mallctl(const char*, void*, std::size_t*, void*, std::size_t) __attribute__((weak));
// DuckDB brings a copy of jemalloc under names of its own, in which a query sorts and groups.
int duckdb_je_mallctl(const char*, void*, std::size_t*, void*, std::size_t) __attribute__((weak));
}

namespace millrace {
namespace {

// A jemalloc of this process, by its control function; nullptr: it is not there.
using Heap = decltype(&mallctl);

const Heap kHeaps[] = {mallctl, duckdb_je_mallctl};

// Pages of all heaps in physical memory, those that nobody uses included.
std::size_t ResidentHeaps() {
  std::size_t sum = 0;
  for (const Heap heap : kHeaps) {
    if (heap == nullptr) continue;
    std::uint64_t epoch = 1;  // Any write refreshes the figures.
    std::size_t size = sizeof(epoch);
    heap("epoch", &epoch, &size, &epoch, size);
    std::size_t resident = 0;
    size = sizeof(resident);
    if (heap("stats.resident", &resident, &size, nullptr, 0) == 0) sum += resident;
  }
  return sum;
}

}  // namespace

MemoryShare::MemoryShare(MemoryShare&& other) noexcept
    : budget_(std::move(other.budget_)), named_(other.named_), bytes_(std::exchange(other.bytes_, 0)) {}

MemoryShare& MemoryShare::operator=(MemoryShare&& other) noexcept {
  if (this == &other) return *this;
  Set(0);
  budget_ = std::move(other.budget_);
  named_ = other.named_;
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

MemoryShare::~MemoryShare() { Set(0); }

void MemoryShare::Set(std::int64_t bytes) {
  bytes = std::max<std::int64_t>(bytes, 0);
  const std::int64_t change = bytes - std::exchange(bytes_, bytes);
  if (budget_ == nullptr || change == 0) return;
  named_->fetch_add(change, std::memory_order_relaxed);
  budget_->Change(change);
}

bool MemoryShare::TryAdd(std::int64_t bytes) {
  if (budget_ != nullptr) {
    if (!budget_->TryDraw(bytes)) return false;
    named_->fetch_add(bytes, std::memory_order_relaxed);
  }
  bytes_ += bytes;
  return true;
}

std::shared_ptr<MemoryBudget> MemoryBudget::Make(std::int64_t limit_bytes) {
  return std::shared_ptr<MemoryBudget>(new MemoryBudget(limit_bytes));
}

MemoryShare MemoryBudget::NewShare(const std::string& name) {
  const std::lock_guard lock(mutex_);
  return MemoryShare(shared_from_this(), &by_name_[name]);
}

std::map<std::string, std::int64_t> MemoryBudget::ByName() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::int64_t> bytes;
  for (const auto& [name, sum] : by_name_) bytes[name] = sum.load(std::memory_order_relaxed);
  return bytes;
}

void MemoryBudget::Change(std::int64_t bytes) {
  const std::int64_t used = used_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (bytes > 0) NotePeak(used);
  NoteMoved(std::abs(bytes));
}

bool MemoryBudget::TryDraw(std::int64_t bytes) {
  std::int64_t used = used_.load(std::memory_order_relaxed);
  do {
    if (used > limit_ - bytes) return false;
  } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  NotePeak(used + bytes);
  return true;
}

void MemoryBudget::NoteMoved(std::int64_t bytes) {
  // Often enough that what is kept beside used() stays small against the limit.
  const std::int64_t enough = limit_ / 16;
  if (moved_.fetch_add(bytes, std::memory_order_relaxed) + bytes < enough) return;
  if (moved_.exchange(0, std::memory_order_relaxed) < enough) return;  // Another thread does it.
  ReturnPagesFor(0);
}

void MemoryBudget::ReturnPagesFor(std::int64_t bytes) const {
  // Not at all while the heaps are well within the limit: pages that are given back come back as page faults, which
  // cost a fifth of the CPU time of an ingest.
  if (ResidentHeaps() + static_cast<std::size_t>(bytes) <= static_cast<std::size_t>(limit_ / 4 * 3)) return;
  for (const Heap heap : kHeaps) {
    if (heap != nullptr) heap("arena.4096.purge", nullptr, nullptr, nullptr, 0);  // 4096: MALLCTL_ARENAS_ALL.
  }
}

void MemoryShare::MakeRoom(std::int64_t bytes) const {
  if (budget_ != nullptr && bytes >= budget_->limit_ / 16) budget_->ReturnPagesFor(bytes);
}

void MemoryBudget::NotePeak(std::int64_t used) {
  std::int64_t peak = peak_.load(std::memory_order_relaxed);
  while (used > peak && !peak_.compare_exchange_weak(peak, used, std::memory_order_relaxed)) {
  }
}

}  // namespace millrace
