#include "pipeline/progress.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <charconv>
#include <set>
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
    {"#further", &model::Ledger::further},
    {"#written", &model::Ledger::written},
    {"#dead_lettered", &model::Ledger::dead_lettered},
    {"#filtered", &model::Ledger::filtered},
    {"#deduplicated", &model::Ledger::deduplicated},
    {"#tombstones", &model::Ledger::tombstones},
};

struct ReplayField {
  std::string_view suffix;
  std::int64_t ReplayCounts::*member;
};
constexpr ReplayField kReplayFields[] = {
    {"#replayed", &ReplayCounts::replayed},
    {"#replayed_further", &ReplayCounts::further},
    {"#replayed_written", &ReplayCounts::written},
    {"#replayed_filtered", &ReplayCounts::filtered},
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

// "7" -> 7; nullopt for anything that is not written as we write partitions ("07", "-1", "7x").
std::optional<std::int32_t> PartitionNumber(std::string_view text) {
  std::int32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  if (std::to_string(number) != text) return std::nullopt;
  return number;
}

// The partitions of ids "<prefix>N".
template <typename Visit>
void VisitPartitions(const std::map<std::string, delta::Txn>& txns, const std::string& prefix, Visit visit) {
  for (auto it = txns.lower_bound(prefix); it != txns.end() && it->first.starts_with(prefix); ++it) {
    if (const auto partition = PartitionNumber(std::string_view(it->first).substr(prefix.size()))) {
      visit(*partition, it->second.version);
    }
  }
}

bool HoldsShortForm(const delta::Snapshot& snapshot, const std::string& app_id) {
  bool found = false;
  VisitPartitions(snapshot.txns, app_id + "-", [&](std::int32_t, std::int64_t) { found = true; });
  return found;
}

// Commits that are asked whose offsets of the short form are: the newest of ours says it.
constexpr std::int64_t kHistoryCommitsMax = 1000;

// The topic that the books of a commit name beside ids of the short form.
std::optional<std::string> TopicInHistory(const std::vector<delta::Table::HistoryEntry>& history,
                                          const std::string& app_id) {
  namespace json = boost::json;
  for (const auto& entry : history) {  // Newest first.
    const bool is_short = std::any_of(entry.txns.begin(), entry.txns.end(), [&](const delta::Txn& txn) {
      return txn.app_id.starts_with(app_id + "-") &&
             PartitionNumber(std::string_view(txn.app_id).substr(app_id.size() + 1)).has_value();
    });
    if (!is_short) continue;
    boost::system::error_code ec;
    const auto info = json::parse(entry.commit_info_json, ec);
    if (ec || !info.is_object()) continue;
    const auto* ours = info.as_object().if_contains("millrace");
    const auto* partitions =
        ours != nullptr && ours->is_object() ? ours->as_object().if_contains("partitions") : nullptr;
    if (partitions == nullptr || !partitions->is_array() || partitions->as_array().empty()) continue;
    const auto& first = partitions->as_array().front();
    const auto* topic = first.is_object() ? first.as_object().if_contains("topic") : nullptr;
    if (topic != nullptr && topic->is_string()) return std::string(topic->as_string());
  }
  return std::nullopt;
}

}  // namespace

Progress::Progress(std::string app_id, std::vector<std::string> topics, std::optional<std::string> short_form_topic)
    : app_id_(std::move(app_id)), topics_(std::move(topics)), short_form_topic_(std::move(short_form_topic)) {}

Result<Progress> Progress::Of(const delta::Table& table, const std::string& app_id,
                              const std::vector<std::string>& topics, config::TxnIdForm form, bool has_others) {
  const auto snapshot = table.snapshot();
  const std::string prefix = app_id + "#topic:";
  bool marked = false;
  for (auto it = snapshot->txns.lower_bound(prefix); it != snapshot->txns.end() && it->first.starts_with(prefix);
       ++it) {
    marked = true;
    if (it->second.version == 1) return Progress(app_id, topics, it->first.substr(prefix.size()));
  }
  if (!HoldsShortForm(*snapshot, app_id)) {
    const bool is_short = form == config::TxnIdForm::kShort && topics.size() == 1 && !marked;
    return Progress(app_id, topics, is_short ? std::optional(topics.front()) : std::nullopt);
  }
  ASSIGN_OR_RETURN(const auto history, table.History(kHistoryCommitsMax));
  if (auto topic = TopicInHistory(history, app_id)) return Progress(app_id, topics, std::move(topic));
  if (topics.size() == 1 && !has_others) return Progress(app_id, topics, topics.front());
  return InvalidInput(
      "the table holds offsets without a topic's name ({}-0 and the like), and the pipeline reads several topics. Run "
      "it once with the one topic that they belong to as source.topics; from then on the table says whose they are",
      app_id);
}

Result<Progress> Progress::Of(const Plan& plan, int table, const delta::Table& opened) {
  std::vector<std::string> topics = plan.topics();
  bool has_others = plan.has_patterns();
  if (table != plan.dead_letters()) {
    const auto& input = plan.inputs[plan.InputOfTable(table)];
    topics = input.topics;
    has_others = !input.patterns.empty();
  }
  return Of(opened, plan.config.app_id, topics, plan.config.txn_ids, has_others);
}

std::string Progress::MarkerId(const std::string& topic) const { return app_id_ + "#topic:" + topic; }

std::string Progress::AppId(const model::TopicPartition& source) const {
  const std::string partition = std::to_string(source.partition);
  return IsShort(source.topic) ? app_id_ + "-" + partition : app_id_ + "-" + source.topic + "-" + partition;
}

std::string Progress::StageId(const model::TopicPartition& source, const std::string& stage) const {
  if (stage == "decode" || stage == "event_time") return AppId(source);
  return AppId(source) + "@" + stage;
}

std::optional<std::int64_t> Progress::Fence(const delta::Snapshot& snapshot,
                                            const model::TopicPartition& source) const {
  return snapshot.TxnVersion(AppId(source));
}

std::optional<model::Offset> Progress::NextOffset(const delta::Snapshot& snapshot,
                                                  const model::TopicPartition& source) const {
  auto next = After(Fence(snapshot, source));
  if (!next) next = BooksBeginAt(snapshot, source);
  if (IsShort(source.topic)) {
    // While a second topic made the ids long, a table could get both. What either covers is covered.
    const std::string with_topic = app_id_ + "-" + source.topic + "-" + std::to_string(source.partition);
    next = std::max(next, After(snapshot.TxnVersion(with_topic)));
  }
  return next;
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

std::vector<CoverageOfAnother> Progress::CoveredByOthers(const delta::Snapshot& snapshot,
                                                         const model::TopicPartition& source) const {
  constexpr std::string_view kFingerprint = "#crc";
  const std::string of_partition = "-" + std::to_string(source.partition);
  const std::string of_topic = "-" + source.topic + of_partition;
  std::vector<CoverageOfAnother> others;
  for (const auto& [id, ignored] : snapshot.txns) {
    if (!id.ends_with(kFingerprint)) continue;
    const std::string_view base = std::string_view(id).substr(0, id.size() - kFingerprint.size());
    const bool is_long = base.ends_with(of_topic);
    if (!is_long && !base.ends_with(of_partition)) continue;
    const std::string app_id(base.substr(0, base.size() - (is_long ? of_topic : of_partition).size()));
    const Progress other(app_id, {source.topic}, is_long ? std::nullopt : std::optional(source.topic));
    const bool is_of_topic = is_long || snapshot.TxnVersion(other.MarkerId(source.topic)) == 1;
    const auto fingerprint = other.FingerprintOf(snapshot, source);
    if (app_id == app_id_ || !is_of_topic || !fingerprint) continue;
    others.push_back({app_id, *other.Fence(snapshot, source) + 1, *fingerprint});
  }
  return others;
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

std::optional<UnixMicros> Progress::Watermark(const delta::Snapshot& snapshot,
                                              const model::TopicPartition& source) const {
  return snapshot.TxnVersion(WithSuffix(AppId(source), "#watermark"));
}

std::optional<UnixMicros> Progress::CommittedAt(const delta::Snapshot& snapshot,
                                                const model::TopicPartition& source) const {
  const auto txn = snapshot.txns.find(AppId(source));
  if (txn == snapshot.txns.end() || !txn->second.last_updated_ms) return std::nullopt;
  return *txn->second.last_updated_ms * 1000;
}

ReplayCounts Progress::ReplayTotals(const delta::Snapshot& snapshot, const model::TopicPartition& source) const {
  ReplayCounts totals;
  const std::string id = AppId(source);
  for (const auto& field : kReplayFields) {
    totals.*field.member = snapshot.TxnVersion(WithSuffix(id, field.suffix)).value_or(0);
  }
  return totals;
}

std::vector<delta::Txn> Progress::AdvanceReplay(const delta::Snapshot& snapshot, const model::TopicPartition& source,
                                                const ReplayCounts& counts) const {
  std::vector<delta::Txn> txns;
  const std::string id = AppId(source);
  const ReplayCounts before = ReplayTotals(snapshot, source);
  for (const auto& field : kReplayFields) {
    if (counts.*field.member == 0) continue;
    txns.push_back({.app_id = WithSuffix(id, field.suffix),
                    .version = before.*field.member + counts.*field.member,
                    .last_updated_ms = std::nullopt});
  }
  return txns;
}

std::optional<model::Offset> Progress::DedupeFrom(const delta::Snapshot& snapshot,
                                                  const model::TopicPartition& source) const {
  return snapshot.TxnVersion(WithSuffix(AppId(source), "#dedupe_from"));
}

model::OffsetVector Progress::NextOffsets(const delta::Snapshot& snapshot) const {
  std::set<std::string> topics(topics_.begin(), topics_.end());
  const std::string markers = MarkerId("");
  for (auto it = snapshot.txns.lower_bound(markers); it != snapshot.txns.end() && it->first.starts_with(markers);
       ++it) {
    topics.insert(it->first.substr(markers.size()));
  }
  if (short_form_topic_) topics.insert(*short_form_topic_);
  model::OffsetVector next;
  for (const auto& topic : topics) {
    const auto cover = [&](std::int32_t partition, std::int64_t last) {
      auto& end = next[{topic, partition}];
      end = std::max(end, last + 1);
    };
    VisitPartitions(snapshot.txns, app_id_ + "-" + topic + "-", cover);
    if (IsShort(topic)) VisitPartitions(snapshot.txns, app_id_ + "-", cover);
  }
  return next;
}

std::vector<delta::Txn> Progress::Advance(const delta::Snapshot& snapshot, const model::TopicPartition& source,
                                          const PartitionPart& part) const {
  const std::string id = AppId(source);
  std::vector<delta::Txn> txns = {{.app_id = id, .version = part.range.end - 1, .last_updated_ms = std::nullopt}};
  const auto put = [&](std::string_view suffix, std::int64_t version) {
    txns.push_back({.app_id = WithSuffix(id, suffix), .version = version, .last_updated_ms = std::nullopt});
  };
  if (!BooksBeginAt(snapshot, source)) put("#from", part.range.begin);
  const model::Ledger before = Totals(snapshot, source);
  for (const auto& field : kLedgerFields) {
    if (part.ledger.*field.member != 0) put(field.suffix, before.*field.member + part.ledger.*field.member);
  }
  put("#crc", FingerprintVersion(part.range.end - 1, part.fingerprint));
  // Without dedupe nothing is remembered; a table that had it says so, or it would be read from there once more.
  const auto remembered = DedupeFrom(snapshot, source);
  const auto dedupe_from = part.dedupe_from || !remembered ? part.dedupe_from : std::optional(part.range.end);
  if (dedupe_from && dedupe_from != remembered) put("#dedupe_from", *dedupe_from);
  if (part.watermark && part.watermark > Watermark(snapshot, source)) put("#watermark", *part.watermark);
  return txns;
}

std::vector<delta::Txn> Progress::Begin(const model::TopicPartition& source, model::Offset start) const {
  const std::string id = AppId(source);
  std::vector<delta::Txn> txns = {
      {.app_id = WithSuffix(id, "#from"), .version = start, .last_updated_ms = std::nullopt}};
  // Other readers of the short form look at the last offset alone; before offset 0 there is none.
  if (start > 0) txns.push_back({.app_id = id, .version = start - 1, .last_updated_ms = std::nullopt});
  return txns;
}

bool Progress::KnowsTopic(const delta::Snapshot& snapshot, const std::string& topic) const {
  return snapshot.TxnVersion(MarkerId(topic)).has_value();
}

bool Progress::KnowsPattern(const delta::Snapshot& snapshot, const std::string& pattern) const {
  return snapshot.TxnVersion(PatternMarker(pattern).app_id).has_value();
}

delta::Txn Progress::PatternMarker(const std::string& pattern) const {
  return {.app_id = app_id_ + "#pattern:" + pattern, .version = 0, .last_updated_ms = std::nullopt};
}

std::string Progress::StageMarkerId(const std::string& stage) const { return app_id_ + "#stage:" + stage; }

std::vector<std::string> Progress::StagesOf(const delta::Snapshot& snapshot) const {
  const std::string prefix = StageMarkerId("");
  std::vector<std::string> stages;
  for (auto it = snapshot.txns.lower_bound(prefix); it != snapshot.txns.end() && it->first.starts_with(prefix); ++it) {
    stages.push_back(it->first.substr(prefix.size()));
  }
  return stages;
}

std::vector<delta::Txn> Progress::Markers(const delta::Snapshot& snapshot,
                                          const std::vector<model::TopicPartition>& sources,
                                          const std::vector<std::string>& stages) const {
  std::set<std::string> topics;
  for (const auto& source : sources) topics.insert(source.topic);
  std::vector<delta::Txn> txns;
  for (const auto& topic : topics) {
    if (snapshot.TxnVersion(MarkerId(topic))) continue;
    txns.push_back({.app_id = MarkerId(topic), .version = IsShort(topic) ? 1 : 0, .last_updated_ms = std::nullopt});
  }
  for (const auto& stage : stages) {
    if (!stage.starts_with("transform:") || snapshot.TxnVersion(StageMarkerId(stage))) continue;
    txns.push_back({.app_id = StageMarkerId(stage), .version = 0, .last_updated_ms = std::nullopt});
  }
  return txns;
}

}  // namespace millrace::pipeline
