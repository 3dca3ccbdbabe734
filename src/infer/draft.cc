#include "infer/draft.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <set>
#include <string_view>

#include "base/ascii_case.h"
#include "infer/column_guess.h"
#include "infer/documents.h"
#include "infer/field_profile.h"
#include "infer/schema_columns.h"
#include "model/event_batch.h"

namespace millrace::infer {
namespace {

using namespace std::string_view_literals;

std::string PartOf(std::int64_t part, std::int64_t all) { return fmt::format("{} of {}", part, all); }

// Which field is the key in every record that has one; empty: none.
std::string KeyField(const FieldProfile& object, std::int64_t records_with_key, const std::string& prefix = "") {
  for (const auto& member : object.members) {
    const std::string path = prefix.empty() ? member->name : prefix + "." + member->name;
    if (records_with_key > 0 && member->equal_to_key >= records_with_key) return path;
    if (const auto found = KeyField(*member, records_with_key, path); !found.empty()) return found;
  }
  return "";
}

std::string_view WordFor(const Draft& draft) { return draft.parts == ingest::Records::kOne ? "records" : "documents"; }

std::int64_t RecordsWithKey(const Sample& sample) {
  return std::count_if(sample.records.begin(), sample.records.end(), [](const auto& r) { return r.key.has_value(); });
}

void TakeRecordColumns(const Sample& sample, const std::string& key_field, const std::optional<TimeFrame>& frame,
                       ColumnNames& names, Draft& draft) {
  if (!key_field.empty()) draft.format_notes.push_back(fmt::format("the records' key is the field {}", key_field));
  auto columns = RecordColumns(sample, key_field, frame, names);
  draft.columns.insert(draft.columns.end(), std::make_move_iterator(columns.begin()),
                       std::make_move_iterator(columns.end()));
}

// `sample` has a record for each document.
void DraftJson(const Sample& sample, Draft& draft) {
  draft.format = "json";
  DocumentProfile profile;
  for (const auto& record : sample.records) {
    const auto key = record.key ? std::optional<std::string_view>(*record.key) : std::nullopt;
    ObserveJson(record.payload, key, profile);
  }
  draft.documents = profile.root.objects;
  const auto all = std::ssize(sample.records);
  if (const auto others = all - draft.documents; others > 0) {
    draft.format_notes.push_back(fmt::format("{} {} are no JSON object", PartOf(others, all), WordFor(draft)));
  }
  const auto frame = TimeFrameOf(sample);
  ColumnNames names;
  draft.columns = JsonColumns(profile, frame, names);
  const auto key_field = KeyField(profile.root, RecordsWithKey(sample));
  TakeRecordColumns(sample, key_field, frame, names, draft);
  if (profile.has_more || draft.columns.size() >= kColumnsMax) {
    draft.format_notes.push_back(fmt::format("there are more fields than are looked at: {} columns, {} fields, {} deep",
                                             kColumnsMax, kFieldsMax, kDepthMax));
  }
  const bool has_secret = HoldsSecret(profile.root);
  draft.rescue = !has_secret;
  draft.unknown_fields_note = has_secret ? "not rescue, which would keep what looks like a secret"
                                         : "fields without a column are kept, as they came, in _rescued";
}

// Likewise.
void DraftCsv(const Sample& sample, CsvShape shape, Draft& draft) {
  const auto all = std::ssize(sample.records);
  draft.format = "csv";
  const bool has_header = !shape.header.empty();
  if (!has_header) {
    for (std::size_t i = 1; i <= shape.num_fields; ++i) shape.header.push_back(fmt::format("c{}", i));
  }
  std::vector<FieldProfile> fields(shape.num_fields);
  for (std::size_t f = 0; f < fields.size(); ++f) fields[f].name = shape.header[f];
  std::int64_t headers = 0;
  std::int64_t others = 0;
  for (const auto& record : sample.records) {
    if (has_header && IsHeader(record.payload, shape)) {
      ++headers;
      continue;
    }
    const auto texts = SplitCsv(record.payload, shape.delimiter);
    if (texts.size() != fields.size()) {
      ++others;
      continue;
    }
    for (std::size_t f = 0; f < fields.size(); ++f) {
      ObserveText(texts[f], fields[f]);
      if (record.key && texts[f] == *record.key) ++fields[f].equal_to_key;
    }
  }
  draft.documents = all - headers - others;
  draft.null_text = GuessNullText(fields);
  if (has_header) {
    draft.format_notes.push_back(
        fmt::format("the names are those of a header line, which is in the log {} and becomes a dead letter",
                    headers == 1 ? "once" : fmt::format("{} times", headers)));
  } else {
    draft.format_notes.emplace_back(
        "there is no header line: give the fields, and the columns, names that say something");
  }
  if (others > 0) {
    draft.format_notes.push_back(
        fmt::format("{} lines have not {} fields: dead letters", PartOf(others, all), fields.size()));
  }
  if (!draft.null_text.empty()) draft.format_notes.emplace_back("null: what stands where other rows have a value");
  const auto frame = TimeFrameOf(sample);
  ColumnNames names;
  draft.columns = CsvColumns(fields, draft.null_text, frame, names);
  std::string key_field;
  const auto keys = RecordsWithKey(sample);
  for (const auto& field : fields) {
    if (keys > 0 && key_field.empty() && field.equal_to_key >= keys - headers) key_field = field.name;
  }
  TakeRecordColumns(sample, key_field, frame, names, draft);
  draft.csv = std::move(shape);
}

void DraftRaw(const Sample& sample, const PayloadShapes& shapes, Draft& draft) {
  draft.format = "raw";
  draft.documents = draft.records;
  draft.format_notes.emplace_back("texts that are no JSON and no CSV: each payload is one text");
  ColumnNames names;
  FieldProfile payload;
  for (const auto& record : sample.records) ObserveText(record.payload, payload);
  DraftColumn column{.name = names.Take("payload"), .type = "string", .path = {"payload"}};
  column.facts = {.present = payload.texts, .distinct = payload.distinct.size(), .repeats = payload.repeats};
  const auto binary = shapes.count(PayloadShape::kBinary);
  if (binary > 0) column.notes.push_back(fmt::format("{} are no texts: dead letters", PartOf(binary, draft.records)));
  draft.columns.push_back(std::move(column));
  TakeRecordColumns(sample, "", TimeFrameOf(sample), names, draft);
}

// What no format reads, with the way out.
Status CannotRead(const Sample& sample, const PayloadShapes& shapes) {
  const auto shape = shapes.most();
  if (2 * shapes.count(shape) <= std::ssize(sample.records)) {
    std::vector<std::string> kinds;
    for (const auto& [kind, count] : shapes.counts) kinds.push_back(fmt::format("{} {}", count, ShapeName(kind)));
    return InvalidInput("the payloads are of several kinds, and none is that of most: {}", fmt::join(kinds, ", "));
  }
  const auto what =
      fmt::format("{} of {} payloads are {}", shapes.count(shape), sample.records.size(), ShapeName(shape));
  switch (shape) {
    case PayloadShape::kConfluent:
      return InvalidInput("{} (schema ids {}): --registry names that registry, or --schema a file of the schema", what,
                          fmt::join(shapes.schema_ids, ", "));
    case PayloadShape::kSingleObject:
    case PayloadShape::kContainer:
      return InvalidInput("{}: --schema names the file of the schema", what);
    case PayloadShape::kBinary:
      return InvalidInput("{}: if they are Avro or Protobuf, --schema names the file of the schema", what);
    case PayloadShape::kGzip:
    case PayloadShape::kZstd:
      return InvalidInput("{}, and cannot be unpacked", what);
    default:
      return InvalidInput("{}, which no format reads as it is", what);
  }
}

// By which name people call the time of an event first.
int RankAsEventTime(const DraftColumn& column, std::int64_t documents) {
  if (column.left_out || !column.from.empty() || !column.type.starts_with("timestamp")) return 0;
  if (2 * column.facts.present < documents) return 0;
  const std::string name = AsciiLower(column.path.empty() ? column.name : column.path.back());
  int rank = 1;
  if (column.hints.event) rank += 8;
  for (const auto plain : {"ts"sv, "timestamp"sv, "@timestamp"sv, "time"sv, "event_time"sv, "eventtime"sv, "at"sv,
                           "event_ts"sv, "event_timestamp"sv, "occurred_at"sv, "datetime"sv}) {
    if (name == plain) rank += 4;
  }
  if (column.facts.present == documents) rank += 4;
  if (column.path.size() <= 1) rank += 2;
  return rank;
}

void ChooseEventTime(Draft& draft) {
  const DraftColumn* best = nullptr;
  int best_rank = 0;
  std::vector<std::string> others;
  for (const auto& column : draft.columns) {
    const int rank = RankAsEventTime(column, draft.documents);
    if (rank <= best_rank) {
      if (rank > 0) others.push_back(column.name);
      continue;
    }
    if (best != nullptr) others.push_back(best->name);
    best = &column;
    best_rank = rank;
  }
  if (best == nullptr) {
    draft.event_time = model::kTimestampColumn;
    draft.event_time_note = "no field is the time of each event: this is when its record came into the log";
    return;
  }
  draft.event_time = best->name;
  if (best->facts.present < draft.documents) draft.event_time_note = "records without it have no window";
  if (!others.empty()) {
    draft.event_time_note +=
        fmt::format("{}also times: {}", draft.event_time_note.empty() ? "" : "; ", fmt::join(others, ", "));
  }
}

bool IsText(const DraftColumn& column) { return column.type == "string" || column.type == "uuid"; }
bool IsWhole(const DraftColumn& column) { return column.type == "int32" || column.type == "int64"; }

void ChooseDedupe(Draft& draft) {
  const DraftColumn* best = nullptr;
  for (const auto& column : draft.columns) {
    const bool names_event = column.hints.identity && !column.left_out && column.from.empty() &&
                             (IsText(column) || IsWhole(column)) && column.path.size() <= 1;
    // Repeats are what it is for; but where every other one is, it is the name of something else.
    if (!names_event || column.facts.present < draft.documents || 10 * column.facts.repeats > draft.documents) {
      continue;
    }
    if (best == nullptr || column.facts.repeats < best->facts.repeats) best = &column;
  }
  if (best == nullptr || draft.documents < 2) return;
  draft.dedupe_by = {best->name};
  draft.dedupe_note = best->facts.repeats == 0
                          ? fmt::format(
                                "{} is in every record, and never twice: if producers send again, this leaves "
                                "the repeats out",
                                best->name)
                          : fmt::format("{} repeat an earlier {}: if these are the same events, this leaves them out",
                                        PartOf(best->facts.repeats, draft.documents), best->name);
}

void ChooseAggregate(Draft& draft) {
  constexpr std::size_t kGroupsMax = 50;
  const auto usable = [&](const DraftColumn& column) {
    return !column.left_out && !column.hints.secret && column.name != draft.event_time &&
           !AsciiLower(column.name).starts_with("window_");
  };
  std::set<std::string> names = {"window_start", "window_end", "events"};
  for (const auto& column : draft.columns) {
    const bool has_groups = column.facts.distinct > 1 && column.facts.distinct <= kGroupsMax &&
                            static_cast<std::int64_t>(column.facts.distinct) * 4 <= column.facts.present;
    if (!usable(column) || !has_groups || column.hints.identity) continue;
    if (!IsText(column) && column.type != "bool") continue;
    draft.aggregate.keys.push_back(column.name);
    names.insert(AsciiLower(column.name));
    break;
  }
  const auto add = [&](const std::string& function, const DraftColumn& column, const std::string& suffix) {
    std::string name = TableName(column.name) + "_" + suffix;
    for (int n = 2; !names.insert(AsciiLower(name)).second; ++n)
      name = fmt::format("{}_{}_{}", TableName(column.name), suffix, n);
    draft.aggregate.measures.emplace_back(fmt::format("{}({})", function, SqlName(column.name)), name);
  };
  for (const auto& column : draft.columns) {
    // Of whole numbers beyond 64 bits a sum soon has more digits than there are.
    if (usable(column) && column.type.starts_with("decimal") && !column.type.ends_with(",0)")) {
      add("sum", column, "sum");
      break;
    }
  }
  for (const auto& column : draft.columns) {
    const bool is_measure =
        column.type == "double" || (IsWhole(column) && !column.hints.identity && !column.hints.time);
    if (usable(column) && is_measure && !column.hints.place) {
      add("avg", column, "avg");
      add("max", column, "max");
      break;
    }
  }
  for (const auto& column : draft.columns) {
    const bool is_somebody = column.hints.identity && (IsText(column) || IsWhole(column)) && column.facts.repeats > 0;
    const bool is_event = !draft.dedupe_by.empty() && column.name == draft.dedupe_by.front();
    if (usable(column) && is_somebody && !is_event) {
      add("approx_count_distinct", column, "distinct");
      break;
    }
  }
}

void TakeParts(const Documents& documents, Draft& draft) {
  draft.parts = documents.records;
  draft.framing = documents.framing;
  const bool is_framed = documents.framing != ingest::Framing::kNone;
  (is_framed ? draft.framing_note : draft.parts_note) = documents.note;
}

// `sample` is unpacked.
Status DraftFormat(const Sample& sample, const DraftOptions& options, Draft& draft) {
  const auto shapes = ShapesOf(sample);
  const auto documents = TakeApart(sample, shapes);
  if (options.schema) {
    if (options.schema_format == "avro" && shapes.most() == PayloadShape::kContainer) {
      draft.parts = ingest::Records::kContainer;
    } else if (options.schema_format == "json") {
      TakeParts(documents, draft);
    }
    return DraftOfSchema(sample, options, draft);
  }
  CsvShape csv;
  if (2 * ShapesOf(documents.sample).count(PayloadShape::kJsonObject) > std::ssize(documents.sample.records)) {
    TakeParts(documents, draft);
    DraftJson(documents.sample, draft);
    return Status::OK();
  }
  if (2 * shapes.count(PayloadShape::kText) <= std::ssize(sample.records)) return CannotRead(sample, shapes);
  if (GuessCsv(sample, &csv)) {
    DraftCsv(sample, std::move(csv), draft);
    return Status::OK();
  }
  if (const auto lines = LinesOf(sample); GuessCsv(lines.sample, &csv)) {
    TakeParts(lines, draft);
    DraftCsv(lines.sample, std::move(csv), draft);
    return Status::OK();
  }
  DraftRaw(sample, shapes, draft);
  return Status::OK();
}

}  // namespace

Result<Draft> MakeDraft(const Sample& sample, const DraftOptions& options) {
  if (sample.records.empty() && !options.schema) {
    return InvalidInput("there are no records to look at{}",
                        sample.tombstones > 0 ? fmt::format(", only {} without a payload", sample.tombstones) : "");
  }
  Draft draft;
  draft.source = options.source;
  draft.name = TableName(options.source.topic);
  draft.records = std::ssize(sample.records);
  draft.tombstones = sample.tombstones;
  const auto unpacked = Unpack(sample);
  draft.compression = unpacked.compression;
  draft.compression_note = unpacked.note;
  RETURN_NOT_OK(DraftFormat(unpacked.sample, options, draft));
  const bool has_column =
      std::any_of(draft.columns.begin(), draft.columns.end(), [](const auto& column) { return !column.left_out; });
  if (!has_column) return InvalidInput("no field of the {} records can be a column", draft.records);
  ChooseEventTime(draft);
  ChooseDedupe(draft);
  ChooseAggregate(draft);
  return draft;
}

}  // namespace millrace::infer
