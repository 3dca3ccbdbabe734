#include "lookup/lookup_set.h"

#include <algorithm>
#include <utility>

namespace millrace::lookup {
namespace {

std::int64_t BytesOf(const process::LookupVersions& versions) {
  std::int64_t bytes = 0;
  for (const auto& table : versions) bytes += table == nullptr ? 0 : table->bytes();
  return bytes;
}

}  // namespace

Result<std::shared_ptr<LookupSet>> LookupSet::Load(const std::vector<LookupSpec>& specs,
                                                   std::vector<process::LookupShape> shapes, Options options,
                                                   const Clock& clock) {
  std::shared_ptr<LookupSet> set(new LookupSet(std::move(shapes), std::move(options), clock));
  set->current_ = std::make_shared<const process::LookupVersions>(specs.size());
  for (const auto& spec : specs) {
    ASSIGN_OR_RETURN(set->sources_.emplace_back(), OpenSource(spec, set->options_.s3));
    set->states_.push_back({.name = spec.name});
  }
  for (std::size_t i = 0; i < specs.size(); ++i) RETURN_NOT_OK(set->Refresh(static_cast<int>(i)));
  return set;
}

Status LookupSet::Refresh(int lookup) {
  const Status replaced = Replace(lookup);
  const std::scoped_lock lock(mutex_);
  auto& state = states_[lookup];
  state.error = replaced.ok() ? "" : replaced.message();
  if (replaced.ok()) state.read = clock_.SteadyNow();
  return replaced;
}

Status LookupSet::Replace(int lookup) {
  const auto& shape = shapes_[lookup];
  const auto before = current();
  const auto& known = (*before)[lookup];
  const std::int64_t others = BytesOf(*before) - (known == nullptr ? 0 : known->bytes());
  const std::int64_t bytes_max = options_.bytes_max - others;
  ASSIGN_OR_RETURN(auto read, sources_[lookup]->Read(shape, known == nullptr ? "" : known->version(),
                                                     std::max<std::int64_t>(bytes_max, 0)));
  if (!read) return Status::OK();
  ASSIGN_OR_RETURN(auto table, process::LookupTable::Make(shape, std::move(read->version), std::move(read->rows)));
  if (table->bytes() > bytes_max) {
    return TooLarge(
        "lookup {}: its rows and their index take {} bytes; the lookups together may have {}, a quarter of "
        "limits.memory",
        shape.name, table->bytes(), options_.bytes_max);
  }
  const std::scoped_lock lock(mutex_);
  auto versions = std::make_shared<process::LookupVersions>(*current());
  (*versions)[lookup] = table;
  states_[lookup].version = table->version();
  states_[lookup].rows = table->rows()->num_rows();
  states_[lookup].bytes = table->bytes();
  options_.memory.Set(BytesOf(*versions));
  current_ = std::move(versions);
  return Status::OK();
}

std::vector<LookupSet::State> LookupSet::states() const {
  const std::scoped_lock lock(mutex_);
  return states_;
}

void LookupSet::Interrupt() {
  for (const auto& source : sources_) source->Interrupt();
}

}  // namespace millrace::lookup
