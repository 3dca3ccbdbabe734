/// The order of events, which decides what is first and what is last: event time, then topic, partition and offset.
///
/// No two events have the same place, so the order does not depend on how rows are split or read again. A call whose
/// CallState says by_event_order gets four arguments after its own, which are also four state columns: the place of the
/// event that won.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aggregate/accumulator.h"
#include "aggregate/function.h"

namespace millrace::aggregate {

inline constexpr std::size_t kOrderColumns = 4;

/// time, topic, partition, offset.
std::vector<StateColumn> OrderStates();

/// The place of one event per group.
class GroupPlaces {
 public:
  /// The places of a batch's rows, or of partial rows: four columns in the order of OrderStates().
  struct Rows {
    explicit Rows(Columns columns)
        : times(columns[0]->int64s()),
          topics(columns[1]->bytes()),
          partitions(columns[2]->int64s()),
          offsets(columns[3]->int64s()) {}
    const std::int64_t* times;
    const std::string_view* topics;
    const std::int64_t* partitions;
    const std::int64_t* offsets;
  };

  void Resize(std::size_t num_groups) { places_.resize(num_groups); }

  /// False until Set().
  bool has(std::uint32_t group) const { return places_[group].topic != nullptr; }
  bool IsBefore(const Rows& rows, std::int64_t row, std::uint32_t group) const {
    const Place& place = places_[group];
    if (rows.times[row] != place.time) return rows.times[row] < place.time;
    return Compare(rows, row, place) < 0;
  }
  bool IsAfter(const Rows& rows, std::int64_t row, std::uint32_t group) const {
    const Place& place = places_[group];
    if (rows.times[row] != place.time) return rows.times[row] > place.time;
    return Compare(rows, row, place) > 0;
  }
  void Set(std::uint32_t group, const Rows& rows, std::int64_t row) {
    places_[group] = {rows.times[row], rows.offsets[row], rows.partitions[row], Interned(rows.topics[row])};
  }
  /// Negative, zero or positive. Both have a place.
  int Compare(std::uint32_t a, std::uint32_t b) const;
  /// `columns`: those of OrderStates(), or lists of them; they must not outlive this.
  void AddTo(std::uint32_t group, std::span<ValueColumn> columns) const;

  std::int64_t bytes() const { return static_cast<std::int64_t>(places_.capacity() * sizeof(Place)) + topic_bytes_; }

 private:
  struct Place {
    std::int64_t time = 0;
    std::int64_t offset = 0;
    std::int64_t partition = 0;
    const std::string* topic = nullptr;  // In topics_.
  };
  // Of two at the same time.
  static int Compare(const Rows& rows, std::int64_t row, const Place& place);
  const std::string* Interned(std::string_view topic);

  std::vector<Place> places_;       // By group.
  std::deque<std::string> topics_;  // All that came, few.
  std::int64_t topic_bytes_ = 0;
};

}  // namespace millrace::aggregate
