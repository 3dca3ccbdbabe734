#include "aggregate/group_values.h"

namespace millrace::aggregate {
namespace {

// What a text takes beside itself: up to 15 bytes live in the string.
std::int64_t HeapBytes(const std::string& text) {
  return text.capacity() > 15 ? static_cast<std::int64_t>(text.capacity()) : 0;
}

}  // namespace

void GroupValues::Resize(std::size_t num_groups) {
  valid_.resize(num_groups);
  switch (physical_) {
    case PhysicalType::kInt64:
      return int64s_.resize(num_groups);
    case PhysicalType::kInt128:
      return int128s_.resize(num_groups);
    case PhysicalType::kDouble:
      return doubles_.resize(num_groups);
    case PhysicalType::kBytes:
      return texts_.resize(num_groups);
  }
}

void GroupValues::Set(std::uint32_t group, const ColumnView& column, std::int64_t row) {
  valid_[group] = column.valid() == nullptr ? std::uint8_t{1} : column.valid()[row];
  if (valid_[group] == 0) return;
  switch (physical_) {
    case PhysicalType::kInt64:
      int64s_[group] = column.int64s()[row];
      return;
    case PhysicalType::kInt128:
      int128s_[group] = column.int128s()[row];
      return;
    case PhysicalType::kDouble:
      doubles_[group] = column.doubles()[row];
      return;
    case PhysicalType::kBytes: {
      std::string& text = texts_[group];
      text_bytes_ -= HeapBytes(text);
      text.assign(column.bytes()[row]);
      text_bytes_ += HeapBytes(text);
    }
  }
}

void GroupValues::AddTo(std::uint32_t group, ValueColumn& column) const {
  if (valid_[group] == 0) return column.AddNull();
  AddElementTo(group, column);
}

void GroupValues::AddElementTo(std::uint32_t group, ValueColumn& column) const {
  if (valid_[group] == 0) return column.AddNullElement();
  switch (physical_) {
    case PhysicalType::kInt64:
      return column.Add(int64s_[group]);
    case PhysicalType::kInt128:
      return column.Add(int128s_[group]);
    case PhysicalType::kDouble:
      return column.Add(doubles_[group]);
    case PhysicalType::kBytes:
      return column.Add(std::string_view(texts_[group]));
  }
}

std::int64_t GroupValues::bytes() const {
  return static_cast<std::int64_t>(valid_.capacity() + int64s_.capacity() * sizeof(std::int64_t) +
                                   int128s_.capacity() * sizeof(Int128) + doubles_.capacity() * sizeof(double) +
                                   texts_.capacity() * sizeof(std::string)) +
         text_bytes_;
}

}  // namespace millrace::aggregate
