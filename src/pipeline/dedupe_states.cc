#include "pipeline/dedupe_states.h"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/percent_coding.h"
#include "base/uuid.h"

namespace millrace::pipeline {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

/// A partition that was taken away is given up by its shard, or by the process that had it, in a moment.
constexpr auto kLockPatience = 2s;
/// Folders that were left are looked at again after this, however short `dedupe.within` is.
constexpr std::chrono::microseconds kUnusedMin = 1h;

/// Of all partitions.
fs::path FolderOf(const fs::path& folder, const std::string& app_id) {
  std::string name;
  for (const char c : app_id) {
    const bool is_plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (is_plain) {
      name += c;
    } else {
      AppendPercentEncoded(c, name);
    }
  }
  return folder / name / "dedupe";
}

void AppendColumn(std::string& text, const ingest::ColumnSpec& column) {
  text += fmt::format("{}:{}:{}:", column.name, column.type->ToString(), static_cast<int>(column.form.timestamp));
  for (const auto& key : column.path) text += fmt::format("{}.{}", key.size(), key);
  if (column.form.text != ingest::TextForm::kPlain) text += fmt::format(":{}", static_cast<int>(column.form.text));
  if (column.form.time_format != nullptr) text += fmt::format(":{}", ingest::TextOf(*column.form.time_format));
  if (column.from) text += "from " + ingest::FromText(*column.from);
  text += '\n';
}

}  // namespace

std::string DedupeDefinition(const config::InputPlan& input) {
  const auto& rule = *input.dedupe;
  std::string text = fmt::format("within {} us\nformat {}\n", rule.within.count(), input.decode.format);
  const auto append = [&](int column) {
    if (column < std::ssize(input.decode.columns)) return AppendColumn(text, input.decode.columns[column]);
    text += "the log's time\n";
  };
  for (const int column : rule.key_columns) append(column);
  append(rule.time_column);
  for (const auto& field : input.decode.computed) {
    for (const auto& key : field.path) text += fmt::format("{}.{}", key.size(), key);
    text += " = " + field.expression + '\n';
  }
  return text;
}

DedupeStates::DedupeStates(const Plan& plan, DedupeOptions options)
    : plan_(&plan),
      options_(std::move(options)),
      disk_(std::make_shared<process::DiskAllowance>(plan.config.limits.disk)) {}

Result<DedupeStates> DedupeStates::Make(const Plan& plan, DedupeOptions options) {
  DedupeStates states(plan, std::move(options));
  auto& folder = states.options_.folder;
  if (folder.empty() || !plan.config.dedupes()) return states;
  const fs::path ours = FolderOf(folder, plan.config.app_id);
  const auto look = [&]() -> Status {
    std::error_code error;
    fs::create_directories(ours, error);
    if (error) return Transient("cannot make {}: {}", ours.string(), error.message());
    const fs::path probe = ours / fmt::format("probe-{}", RandomUuid());
    RETURN_NOT_OK(process::LocalFile::Open(probe, O_WRONLY | O_CREAT | O_EXCL));
    fs::remove(probe, error);
    return Status::OK();
  };
  const Status looked = look();
  if (!looked.ok() && plan.config.dedupe_path()) {
    return InvalidInput("dedupe.path: {}: {}; name a folder that this user may write to, or leave it out",
                        folder.string(), looked.message());
  }
  if (!looked.ok()) {
    spdlog::warn(
        "dedupe: {}: keys are remembered in memory alone, and read from the log again at each start; dedupe.path names "
        "another folder",
        looked.message());
    folder.clear();
    return states;
  }
  std::chrono::microseconds unused = kUnusedMin;
  for (const auto& input : plan.inputs) {
    if (input.dedupe) unused = std::max(unused, input.dedupe->within);
  }
  const auto removed = process::StoredKeys::RemoveUnused(ours, unused);
  if (!removed.ok()) spdlog::warn("{}", removed.status().message());
  if (removed.ok() && *removed > 0) {
    spdlog::info("dedupe: removed what {} partitions had left in {} long ago", *removed, ours.string());
  }
  return states;
}

MemoryShare DedupeStates::Share() const {
  static const std::string kName = "dedupe";
  return options_.share == nullptr ? MemoryShare() : options_.share->NewShare(kName);
}

MemoryShare DedupeStates::Counted() const {
  static const std::string kName = "dedupe";
  return options_.all == nullptr ? MemoryShare() : options_.all->NewShare(kName);
}

/// nullptr: memory alone.
Result<std::unique_ptr<process::StoredKeys>> DedupeStates::Lock(const model::TopicPartition& source) const {
  if (options_.folder.empty()) return nullptr;
  const auto& input = plan_->inputs[plan_->InputOf(source.topic)];
  const fs::path folder =
      FolderOf(options_.folder, plan_->config.app_id) / fmt::format("{}-{}", source.topic, source.partition);
  const auto patient_until = std::chrono::steady_clock::now() + kLockPatience;
  for (;;) {
    ASSIGN_OR_RETURN(auto stored, process::StoredKeys::Open({.folder = folder,
                                                             .definition = DedupeDefinition(input),
                                                             .disk = disk_,
                                                             .limited = Share(),
                                                             .counted = Counted()}));
    if (stored != nullptr) return stored;
    if (std::chrono::steady_clock::now() > patient_until) break;
    std::this_thread::sleep_for(20ms);
  }
  spdlog::warn("dedupe: another process has {} open: the keys of {} are in memory alone until the next start",
               folder.string(), model::ToString(source));
  return nullptr;
}

Result<std::unique_ptr<process::Deduplicator>> DedupeStates::Open(const model::TopicPartition& source,
                                                                  const model::OffsetRange& read_again,
                                                                  const FingerprintAt& fingerprint_at) {
  const auto& rule = plan_->inputs[plan_->InputOf(source.topic)].dedupe;
  if (!rule) return nullptr;
  ASSIGN_OR_RETURN(auto stored, Lock(source));
  if (stored == nullptr) {
    return std::make_unique<process::Deduplicator>(*rule, read_again.begin, Share(), Counted());
  }
  const fs::path folder = stored->folder();
  ASSIGN_OR_RETURN(auto dedupe, process::Deduplicator::Open(*rule, read_again, Share(), Counted(), std::move(stored)));
  const auto last = dedupe->last_record();
  if (!last) return dedupe;
  ASSIGN_OR_RETURN(const auto found, fingerprint_at(last->offset));
  if (!found || *found == last->fingerprint) return dedupe;
  spdlog::info("dedupe: what {} holds is thrown away: it is of another log", folder.string());
  dedupe.reset();
  ASSIGN_OR_RETURN(stored, Lock(source));
  if (stored != nullptr) RETURN_NOT_OK(stored->Clear());
  stored.reset();
  return Open(source, read_again, fingerprint_at);
}

}  // namespace millrace::pipeline
