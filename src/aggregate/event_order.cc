#include "aggregate/event_order.h"

#include <tuple>

namespace millrace::aggregate {

std::vector<StateColumn> OrderStates() {
  return {{"time", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")},
          {"topic", arrow::utf8()},
          {"partition", arrow::int32()},
          {"offset", arrow::int64()}};
}

int GroupPlaces::Compare(const Rows& rows, std::int64_t row, const Place& place) {
  if (const int by_topic = rows.topics[row].compare(*place.topic); by_topic != 0) return by_topic;
  if (rows.partitions[row] != place.partition) return rows.partitions[row] < place.partition ? -1 : 1;
  if (rows.offsets[row] != place.offset) return rows.offsets[row] < place.offset ? -1 : 1;
  return 0;
}

int GroupPlaces::Compare(std::uint32_t a, std::uint32_t b) const {
  const Place& left = places_[a];
  const Place& right = places_[b];
  const auto in_full = [](const Place& place) {
    return std::tuple<std::int64_t, std::string_view, std::int64_t, std::int64_t>(place.time, *place.topic,
                                                                                  place.partition, place.offset);
  };
  if (left.time != right.time) return left.time < right.time ? -1 : 1;
  return in_full(left) < in_full(right) ? -1 : (in_full(right) < in_full(left) ? 1 : 0);
}

const std::string* GroupPlaces::Interned(std::string_view topic) {
  for (const std::string& known : topics_) {
    if (known == topic) return &known;
  }
  topic_bytes_ += static_cast<std::int64_t>(sizeof(std::string) + topic.size());
  return &topics_.emplace_back(topic);
}

void GroupPlaces::AddTo(std::uint32_t group, std::span<ValueColumn> columns) const {
  const Place& place = places_[group];
  columns[0].Add(place.time);
  columns[1].Add(std::string_view(*place.topic));
  columns[2].Add(place.partition);
  columns[3].Add(place.offset);
}

}  // namespace millrace::aggregate
