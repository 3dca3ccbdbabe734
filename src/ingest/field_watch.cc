#include "ingest/field_watch.h"

#include <utility>

#include "base/log.h"

namespace millrace::ingest {

FieldWatch::FieldWatch(std::vector<std::pair<std::string, std::string>> columns) {
  for (auto& [name, field] : columns) columns_.push_back({.name = std::move(name), .field = std::move(field)});
}

FieldWatch::~FieldWatch() {
  if (done_) return;
  for (const Column& column : columns_) {
    if (!column.met && !column.nearest.empty()) Warn(column);
  }
}

void FieldWatch::Add(std::int64_t records, std::vector<Unmet> unmet) {
  if (records == 0) return;
  const std::scoped_lock lock(mutex_);
  if (done_) return;
  records_ += records;
  auto next = unmet.begin();
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    Column& column = columns_[i];
    if (next == unmet.end() || next->column != i) {
      column.met = true;
      continue;
    }
    if (column.nearest.empty()) column.nearest = std::move(next->nearest);
    ++next;
  }
  if (records_ < kRecords) return;
  done_ = true;
  for (const Column& column : columns_) {
    if (!column.met) Warn(column);
  }
}

void FieldWatch::Warn(const Column& column) const {
  spdlog::warn("decode.columns.{}: none of the first {} records has a field '{}'{}", column.name, records_,
               column.field, column.nearest.empty() ? "" : fmt::format("; they have '{}'", column.nearest));
}

}  // namespace millrace::ingest
