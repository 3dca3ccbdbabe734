/// An accumulator of one value per group, NULL until there is one: all but Update() of it.
#pragma once

#include <vector>

#include "aggregate/accumulator.h"

namespace millrace::aggregate {

/// T: std::int64_t, Int128 or double. For functions that take a state as they take a value, as sum and min do.
template <typename T>
class ScalarAccumulator : public Accumulator {
 public:
  /// `identity`: what a group has before its first value.
  explicit ScalarAccumulator(T identity = 0) : identity_(identity) {}

  void Resize(std::size_t num_groups) override {
    values_.resize(num_groups, identity_);
    has_.resize(num_groups);
  }
  void Merge(Columns states, const GroupedRows& rows) override { Update(states, rows); }
  void Export(std::span<const std::uint32_t> groups, std::span<ValueColumn> states) const override {
    ValueColumn& column = states.front();
    for (const std::uint32_t group : groups) {
      if (has_[group] != 0) {
        column.Add(values_[group]);
      } else {
        column.AddNull();
      }
    }
  }
  std::int64_t bytes() const override {
    return static_cast<std::int64_t>(values_.capacity() * sizeof(T) + has_.capacity());
  }

 protected:
  std::vector<T> values_;          // By group.
  std::vector<std::uint8_t> has_;  // By group: 0 until there is a value.

 private:
  const T identity_;
};

}  // namespace millrace::aggregate
