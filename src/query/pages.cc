#include <fmt/format.h>

#include "query/pages_internal.h"

namespace millrace::query {

void QuestionHash::Add(const std::string& part) {
  // By its length, so that no two questions have the same text.
  for (const char c : fmt::format("{}:{}", part.size(), part)) {
    value_ = (value_ ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
}

void QuestionHash::Add(const std::vector<std::string>& parts) {
  Add(std::to_string(parts.size()));
  for (const auto& part : parts) Add(part);
}

Result<delta::SnapshotPtr> LoadVersionOfCursor(objectstore::ObjectStore& store, delta::TableVersion version) {
  auto snapshot = delta::LoadVersion(store, version);
  if (snapshot.ok()) return snapshot;
  const auto kind = KindOf(snapshot.status());
  // A log whose old commits were cleaned up begins later, which is a gap for whoever wants these.
  if (kind != ErrorKind::kCorrupt && kind != ErrorKind::kNotFound) return WithContext(snapshot.status(), "cursor");
  return NotFound("cursor: version {} is in the log of {} no more", version, store.uri());
}

}  // namespace millrace::query
