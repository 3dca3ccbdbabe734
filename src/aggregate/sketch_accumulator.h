/// An accumulator of one sketch per group, whose state is the sketch's bytes: all but Update() of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "aggregate/accumulator.h"
#include "sketch/heap_meter.h"

namespace millrace::aggregate {

/// Sketch: of sketch/, with empty(), Merge(bytes) and ToBytes(). A group without a value has no heap, and NULL as
/// state.
template <typename Sketch>
class SketchAccumulator : public Accumulator {
 public:
  void Resize(std::size_t num_groups) override { sketches_.resize(num_groups); }
  void Merge(Columns states, const GroupedRows& rows) override {
    const sketch::HeapMeter meter(&heap_bytes_);
    const std::string_view* const bytes = states.front()->bytes();
    ForRows(rows, [&](std::int64_t i, std::uint32_t g) {
      const Status merged = sketches_[g].Merge(bytes[i]);
      if (!merged.ok() && merge_status_.ok()) merge_status_ = merged;
    });
  }
  Status merge_status() const override { return merge_status_; }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    for (const std::uint32_t group : groups) {
      if (sketches_[group].empty()) {
        states.front().AddNull();
      } else {
        states.front().AddOwned(sketches_[group].ToBytes());
      }
    }
  }
  std::int64_t bytes() const override {
    return heap_bytes_ + static_cast<std::int64_t>(sketches_.capacity() * sizeof(Sketch));
  }

 protected:
  /// add(sketch of its group, row) for each row that is not left out.
  template <typename Add>
  void AddRows(const GroupedRows& rows, Add add) {
    const sketch::HeapMeter meter(&heap_bytes_);
    Sketch* const sketches = sketches_.data();
    ForRows(rows, [&](std::int64_t i, std::uint32_t g) { add(sketches[g], i); });
  }

 private:
  std::vector<Sketch> sketches_;  // By group.
  std::int64_t heap_bytes_ = 0;   // Of all sketches.
  Status merge_status_;
};

}  // namespace millrace::aggregate
