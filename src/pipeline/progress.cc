#include "pipeline/progress.h"

#include <charconv>
#include <string_view>
#include <utility>

namespace millrace::pipeline {
namespace {

struct LedgerField {
  std::string_view suffix;
  std::int64_t model::Ledger::*member;
};
constexpr LedgerField kLedgerFields[] = {
    {"#read", &model::Ledger::read},
    {"#written", &model::Ledger::written},
    {"#dead_lettered", &model::Ledger::dead_lettered},
    {"#filtered", &model::Ledger::filtered},
    {"#deduplicated", &model::Ledger::deduplicated},
    {"#tombstones", &model::Ledger::tombstones},
};

std::string WithSuffix(const std::string& id, std::string_view suffix) { return id + std::string(suffix); }

std::optional<model::Offset> After(std::optional<std::int64_t> last) {
  if (!last) return std::nullopt;
  return *last + 1;
}

// The version of the fingerprint's txn, of the record at `last`; it stays positive.
std::int64_t FingerprintVersion(model::Offset last, std::uint32_t fingerprint) {
  return (last & 0x7FFFFFFF) << 32 | fingerprint;
}

}  // namespace

Progress::Progress(std::string app_id, bool single_topic) : app_id_(std::move(app_id)), single_topic_(single_topic) {}

std::string Progress::AppId(const model::TopicPartition& source) const {
  const std::string partition = std::to_string(source.partition);
  return single_topic_ ? app_id_ + "-" + partition : app_id_ + "-" + source.topic + "-" + partition;
}

std::string Progress::StageId(const model::TopicPartition& source, const std::string& stage) const {
  if (stage == "decode" || stage == "event_time") return AppId(source);
  return AppId(source) + "@" + stage;
}

std::optional<model::Offset> Progress::NextOffset(const delta::Snapshot& snapshot,
                                                  const model::TopicPartition& source) const {
  return After(snapshot.TxnVersion(AppId(source)));
}

std::optional<model::Offset> Progress::NextOffsetOfStage(const delta::Snapshot& snapshot,
                                                         const model::TopicPartition& source,
                                                         const std::string& stage) const {
  return After(snapshot.TxnVersion(StageId(source, stage)));
}

std::optional<std::uint32_t> Progress::FingerprintOf(const delta::Snapshot& snapshot,
                                                     const model::TopicPartition& source) const {
  const auto last = snapshot.TxnVersion(AppId(source));
  const auto version = snapshot.TxnVersion(WithSuffix(AppId(source), "#crc"));
  if (!last || !version) return std::nullopt;
  const auto fingerprint = static_cast<std::uint32_t>(*version);
  if (fingerprint == 0 || *version != FingerprintVersion(*last, fingerprint)) return std::nullopt;
  return fingerprint;
}

model::Ledger Progress::Totals(const delta::Snapshot& snapshot, const model::TopicPartition& source) const {
  model::Ledger totals;
  const std::string id = AppId(source);
  for (const auto& field : kLedgerFields) {
    totals.*field.member = snapshot.TxnVersion(WithSuffix(id, field.suffix)).value_or(0);
  }
  return totals;
}

std::optional<model::Offset> Progress::BooksBeginAt(const delta::Snapshot& snapshot,
                                                    const model::TopicPartition& source) const {
  return snapshot.TxnVersion(WithSuffix(AppId(source), "#from"));
}

model::OffsetVector Progress::NextOffsets(const delta::Snapshot& snapshot,
                                          const std::vector<std::string>& topics) const {
  model::OffsetVector next;
  for (const auto& topic : topics) {
    const std::string prefix = single_topic_ ? app_id_ + "-" : app_id_ + "-" + topic + "-";
    for (auto it = snapshot.txns.lower_bound(prefix); it != snapshot.txns.end() && it->first.starts_with(prefix);
         ++it) {
      const char* begin = it->first.data() + prefix.size();
      const char* end = it->first.data() + it->first.size();
      std::int32_t partition = 0;
      const auto parsed = std::from_chars(begin, end, partition);
      if (parsed.ec != std::errc() || parsed.ptr != end) continue;  // A totals' or a stage's id, or another app's.
      // "-1" and "01" are numbers too, but not as we write them.
      if (partition >= 0 && it->first == AppId({topic, partition})) next[{topic, partition}] = it->second.version + 1;
    }
  }
  return next;
}

std::vector<delta::Txn> Progress::Advance(const delta::Snapshot& snapshot, const model::TopicPartition& source,
                                          const model::OffsetRange& range, const model::Ledger& epoch,
                                          std::uint32_t fingerprint) const {
  const std::string id = AppId(source);
  std::vector<delta::Txn> txns = {{.app_id = id, .version = range.end - 1, .last_updated_ms = std::nullopt}};
  const auto put = [&](std::string_view suffix, std::int64_t version) {
    txns.push_back({.app_id = WithSuffix(id, suffix), .version = version, .last_updated_ms = std::nullopt});
  };
  if (!BooksBeginAt(snapshot, source)) put("#from", range.begin);
  const model::Ledger before = Totals(snapshot, source);
  for (const auto& field : kLedgerFields) {
    if (epoch.*field.member != 0) put(field.suffix, before.*field.member + epoch.*field.member);
  }
  put("#crc", FingerprintVersion(range.end - 1, fingerprint));
  return txns;
}

}  // namespace millrace::pipeline
