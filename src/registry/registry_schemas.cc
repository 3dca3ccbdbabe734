#include "registry/registry_schemas.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace millrace::registry {
namespace {

std::size_t BytesOf(const ingest::WriterSchema& schema) {
  std::size_t bytes = schema.text.size();
  for (const auto& reference : schema.references) bytes += reference.name.size() + reference.text.size();
  return bytes;
}

}  // namespace

RegistrySchemas::RegistrySchemas(RegistrySpec spec) : RegistrySchemas(std::move(spec), Options()) {}

RegistrySchemas::RegistrySchemas(RegistrySpec spec, Options options, const Clock& clock)
    : spec_(std::move(spec)), options_(options), clock_(clock), client_(spec_) {}

RegistrySchemas::~RegistrySchemas() { client_.Interrupt(); }

Result<std::shared_ptr<const ingest::WriterSchema>> RegistrySchemas::Find(std::uint64_t id) {
  if (id > std::numeric_limits<std::uint32_t>::max()) return nullptr;
  std::unique_lock lock(mutex_);
  const Known* known = FindKnown(id);
  if (known != nullptr) {
    ++state_.from_memory;
  } else {
    if (!wanted_.contains(id)) {
      if (wanted_.size() >= options_.wanted_max) {
        return Transient("schema id {}: {} ids before it have no answer yet", id, wanted_.size());
      }
      wanted_.emplace(id, Wanted{.due = clock_.SteadyNow()});
      if (!thread_.joinable()) thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
      changed_.notify_all();
    }
    if (MayWait()) {
      const bool came = changed_.wait_for(lock, options_.wait_max, [&] { return known_.contains(id) || is_slow_; });
      if (!came) is_slow_ = true;
      known = FindKnown(id);
    }
  }
  if (known == nullptr) {
    return Transient("{}", state_.error.empty() ? fmt::format("schema id {} is not there yet", id) : state_.error);
  }
  RETURN_NOT_OK(known->unusable);
  return known->schema;
}

std::uint64_t RegistrySchemas::answers() const {
  const std::scoped_lock lock(mutex_);
  return answers_;
}

Result<SubjectVersion> RegistrySchemas::Latest(const std::string& subject, std::chrono::milliseconds patience) {
  const auto begun = clock_.SteadyNow();
  for (int attempt = 0;; ++attempt) {
    auto latest = client_.Latest(subject);
    if (latest.ok() || KindOf(latest.status()) != ErrorKind::kTransient) return latest;
    const auto pause = EqualJitter(attempt, options_.pause);
    if (clock_.SteadyNow() + pause > begun + patience) return latest;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, pause, [this] { return client_.interrupted(); });
  }
}

std::optional<RegistrySchemas::State> RegistrySchemas::state() const {
  const std::scoped_lock lock(mutex_);
  State state = state_;
  state.schemas = std::ssize(known_);
  state.wanted = std::ssize(wanted_);
  return state;
}

void RegistrySchemas::Run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    const auto next = std::min_element(wanted_.begin(), wanted_.end(),
                                       [](const auto& a, const auto& b) { return a.second.due < b.second.due; });
    if (next == wanted_.end()) {
      changed_.wait(lock, stop, [this] { return !wanted_.empty(); });
      continue;
    }
    const auto now = clock_.SteadyNow();
    if (next->second.due > now) {
      const std::size_t before = wanted_.size();
      changed_.wait_for(lock, stop, next->second.due - now, [&] { return wanted_.size() != before; });
      continue;
    }
    const std::uint64_t id = next->first;
    lock.unlock();
    auto answer = client_.SchemaOfId(static_cast<std::uint32_t>(id));
    lock.lock();
    if (!stop.stop_requested()) Take(id, std::move(answer));
    changed_.notify_all();
  }
}

RegistrySchemas::Known* RegistrySchemas::FindKnown(std::uint64_t id) {
  const auto found = known_.find(id);
  if (found == known_.end()) return nullptr;
  if (found->second.until && clock_.SteadyNow() >= *found->second.until) {
    bytes_ -= found->second.bytes;
    known_.erase(found);
    return nullptr;
  }
  found->second.last_used = ++uses_;
  return &found->second;
}

bool RegistrySchemas::MayWait() {
  if (is_slow_) return false;
  const auto now = clock_.SteadyNow();
  if (now - window_ >= std::chrono::seconds(1)) {
    window_ = now;
    waits_ = 0;
  }
  return ++waits_ <= options_.waits_per_second_max;
}

void RegistrySchemas::Take(std::uint64_t id, Result<ingest::WriterSchema> answer) {
  ++state_.requests;
  auto& wanted = wanted_.at(id);
  const auto now = clock_.SteadyNow();
  const Status failure = answer.status();
  const bool is_failure =
      !failure.ok() && KindOf(failure) != ErrorKind::kNotFound && KindOf(failure) != ErrorKind::kInvalidInput;
  NoteOutcome(is_failure ? failure : Status::OK());
  if (is_failure) {
    wanted.due = now + EqualJitter(wanted.failures++, options_.pause);
    return;
  }
  if (answer.ok()) {
    const std::size_t bytes = BytesOf(*answer);
    Remember(id, {.schema = std::make_shared<const ingest::WriterSchema>(*std::move(answer)), .bytes = bytes});
  } else if (KindOf(failure) == ErrorKind::kNotFound && !wanted.was_denied) {
    wanted.was_denied = true;
    wanted.due = now + options_.ask_again;
  } else {
    const bool is_there = KindOf(failure) == ErrorKind::kInvalidInput;
    if (!is_there) ++state_.unknown;
    Remember(id, {.unusable = is_there ? failure : Status::OK(), .until = now + options_.no_kept});
  }
}

void RegistrySchemas::Remember(std::uint64_t id, Known known) {
  wanted_.erase(id);
  known.last_used = ++uses_;
  bytes_ += known.bytes;
  known_[id] = std::move(known);
  ++answers_;
  while (known_.size() > options_.schemas_max || (bytes_ > options_.bytes_max && known_.size() > 1)) {
    const auto oldest = std::min_element(known_.begin(), known_.end(), [](const auto& a, const auto& b) {
      return a.second.last_used < b.second.last_used;
    });
    bytes_ -= oldest->second.bytes;
    known_.erase(oldest);
  }
}

// Says what has changed, once, however long it lasts.
void RegistrySchemas::NoteOutcome(const Status& failure) {
  if (!failure.ok()) {
    ++state_.failures;
    is_slow_ = true;
    if (state_.error.empty()) {
      spdlog::warn("schema registry: {}; partitions that need a schema wait for it, all others go on",
                   failure.message());
    }
    state_.error = failure.message();
    return;
  }
  is_slow_ = false;
  if (state_.error.empty()) return;
  spdlog::info("schema registry: it answers again");
  state_.error.clear();
  // What waits for its next try need not wait any longer.
  for (auto& [id, wanted] : wanted_) wanted.due = clock_.SteadyNow();
}

}  // namespace millrace::registry
