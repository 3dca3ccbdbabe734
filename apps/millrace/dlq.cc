// millrace dlq: dead letters by reason, one of them with its bytes, and all of them run again.
#include <arrow/builder.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_from.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <tuple>

#include "commands.h"
#include "flag_checks.h"
#include "model/payload_text.h"
#include "objectstore/object_store.h"
#include "pipeline/letter_document.h"
#include "pipeline/letter_scan.h"
#include "pipeline/letter_targets.h"
#include "pipeline/open_tables.h"
#include "pipeline/plan.h"
#include "pipeline/replay.h"
#include "query/time_expression.h"
#include "serve/answer_writer.h"
#include "service.h"
#include "text_table.h"

namespace millrace::app {
namespace {

namespace json = boost::json;

struct DlqFlags {
  std::string config;
  std::vector<std::string> overrides;
  std::string where;
  std::string output = "table";
  // show
  std::string topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  bool raw = false;
  // replay
  bool dry_run = false;
};

void AddConfig(CLI::App& app, DlqFlags& flags) {
  app.add_option("-c,--config", flags.config, "The pipeline's file")->required()->type_name("FILE");
  app.add_option("--set", flags.overrides, "Set a key of the file")->type_name("KEY=VALUE")->check(CheckKeyValue);
}

void AddWhere(CLI::App& app, DlqFlags& flags) {
  app.add_option("--where", flags.where,
                 "Only letters for which this DuckDB expression is true; over topic, partition, \"offset\", timestamp, "
                 "key, payload, stage, reason, detail, \"index\", and replay once there is one")
      ->type_name("SQL");
}

void AddOutput(CLI::App& app, DlqFlags& flags, const std::vector<std::string>& formats) {
  app.add_option("-o,--output", flags.output, "Format")->check(CLI::IsMember(formats))->capture_default_str();
}

struct Opened {
  std::shared_ptr<const pipeline::Plan> plan;
  std::shared_ptr<objectstore::ObjectStore> lake;
  std::string file;  ///< Of the pipeline.
};

Result<std::vector<pipeline::OpenTable>> TablesOf(const Opened& opened) {
  auto tables = pipeline::OpenTablesToRead(*opened.plan, opened.lake);
  if (!tables.ok()) return WithFirstRun(tables.status(), opened.file);
  return tables;
}

/// Runs `verb` on the pipeline of the file, whose own mistakes are exit code 78.
template <typename Verb>
int OnPipeline(const DlqFlags& flags, Verb verb) {
  const auto plan = LoadPlanOrComplain(flags.config, flags.overrides, ReadsLog::kNo);
  if (plan == nullptr) return kBadConfiguration;
  const auto lake = pipeline::OpenLake(plan->config.lake, objectstore::IfMissing::kRefuse);
  if (!lake.ok()) return Complain(WithFirstRun(lake.status(), flags.config));
  const Status status = verb(Opened{plan, *lake, flags.config});
  return status.ok() ? kOk : Complain(status);
}

// ---- list -------------------------------------------------------------------------------------------------------

struct LetterGroup {
  std::int64_t letters = 0;
  UnixMicros first = INT64_MAX;
  UnixMicros last = INT64_MIN;
  std::set<std::string> topics;
};
/// By state, stage and reason.
using LetterGroups = std::map<std::tuple<pipeline::LetterState, std::string, std::string>, LetterGroup>;

Result<LetterGroups> GroupLetters(const Opened& opened, const std::string& where) {
  ASSIGN_OR_RETURN(const auto tables, TablesOf(opened));
  const auto& letters = *tables.back().table;
  ASSIGN_OR_RETURN(const auto places, pipeline::PlacesOf(where, letters));
  ASSIGN_OR_RETURN(const auto log, pipeline::ReplayLog::Open(*opened.plan, opened.lake));
  ASSIGN_OR_RETURN(const auto replayed, log->Records(tables, places));
  pipeline::LetterTargets targets(*opened.plan, tables);
  LetterGroups groups;
  const auto count = [&](const pipeline::StoredLetter& stored) {
    const auto& letter = stored.letter;
    auto& group = groups[{targets.Of(stored, replayed).state, letter.stage, letter.reason}];
    ++group.letters;
    group.first = std::min(group.first, letter.timestamp);
    group.last = std::max(group.last, letter.timestamp);
    group.topics.insert(letter.source.topic);
    return Status::OK();
  };
  RETURN_NOT_OK(pipeline::VisitLetters(letters, {.where = where, .and_also = {}, .with_bytes = false}, count));
  return groups;
}

std::string Joined(const std::set<std::string>& topics) {
  std::string text;
  for (const auto& topic : topics) text += (text.empty() ? "" : ", ") + topic;
  return text;
}

std::string GroupsToText(const LetterGroups& groups) {
  if (groups.empty()) return "no dead letters\n";
  std::vector<std::vector<std::string>> rows = {{"state", "stage", "reason", "letters", "first", "last", "topics"}};
  for (const auto& [key, group] : groups) {
    const auto& [state, stage, reason] = key;
    rows.push_back({std::string(pipeline::ToString(state)), stage, reason, WithThousands(group.letters),
                    query::FormatTime(group.first), query::FormatTime(group.last), Joined(group.topics)});
  }
  return RenderTable(rows);
}

std::string GroupsToJson(const LetterGroups& groups) {
  json::array items;
  for (const auto& [key, group] : groups) {
    const auto& [state, stage, reason] = key;
    items.push_back(json::object{{"state", pipeline::ToString(state)},
                                 {"stage", stage},
                                 {"reason", reason},
                                 {"letters", group.letters},
                                 {"first", query::FormatTime(group.first)},
                                 {"last", query::FormatTime(group.last)},
                                 {"topics", json::value_from(group.topics)}});
  }
  return json::serialize(items) + "\n";
}

Result<std::string> GroupsToCsv(const LetterGroups& groups) {
  const auto schema = arrow::schema({arrow::field("state", arrow::utf8()), arrow::field("stage", arrow::utf8()),
                                     arrow::field("reason", arrow::utf8()), arrow::field("letters", arrow::utf8()),
                                     arrow::field("first", arrow::utf8()), arrow::field("last", arrow::utf8()),
                                     arrow::field("topics", arrow::utf8())});
  std::vector<arrow::StringBuilder> columns(schema->num_fields());
  for (const auto& [key, group] : groups) {
    const auto& [state, stage, reason] = key;
    const std::string cells[] = {std::string(pipeline::ToString(state)),
                                 stage,
                                 reason,
                                 std::to_string(group.letters),
                                 query::FormatTime(group.first),
                                 query::FormatTime(group.last),
                                 Joined(group.topics)};
    for (std::size_t i = 0; i < columns.size(); ++i) RETURN_NOT_OK(columns[i].Append(cells[i]));
  }
  arrow::ArrayVector arrays(columns.size());
  for (std::size_t i = 0; i < columns.size(); ++i) RETURN_NOT_OK(columns[i].Finish(&arrays[i]));
  std::string text = serve::CsvHeader(*schema);
  RETURN_NOT_OK(serve::AppendCsv(
      *arrow::RecordBatch::Make(schema, static_cast<std::int64_t>(groups.size()), std::move(arrays)), text));
  return text;
}

Status List(const DlqFlags& flags, const Opened& opened) {
  ASSIGN_OR_RETURN(const auto groups, GroupLetters(opened, flags.where));
  std::string text;
  if (flags.output == "csv") {
    ASSIGN_OR_RETURN(text, GroupsToCsv(groups));
  } else {
    text = flags.output == "json" ? GroupsToJson(groups) : GroupsToText(groups);
  }
  std::fputs(text.c_str(), stdout);
  return Status::OK();
}

// ---- show -------------------------------------------------------------------------------------------------------

std::string OneLine(const std::optional<std::string>& bytes) {
  if (!bytes) return "null";
  return model::IsPlainText(*bytes) ? *bytes : "0x" + model::Hex(*bytes);
}

std::string LetterToText(const pipeline::StoredLetter& stored) {
  const auto& letter = stored.letter;
  std::string text =
      fmt::format("stage      {}\nreason     {}\ndetail     {}\n", letter.stage, letter.reason, OneLine(letter.detail));
  if (letter.index != model::kWholeRecord) text += fmt::format("document   {}\n", letter.index);
  if (stored.replay != 0) text += fmt::format("replay     {}\n", stored.replay);
  text += fmt::format("timestamp  {}\nkey        {}\n", query::FormatTime(letter.timestamp), OneLine(letter.key));
  for (const auto& [name, value] : letter.headers) {
    text += fmt::format("header     {} = {}\n", OneLine(name), OneLine(value));
  }
  text += fmt::format("payload    {} bytes\n", WithThousands(static_cast<long long>(letter.payload.size())));
  return text + (model::IsPlainText(letter.payload) ? letter.payload + "\n" : model::HexDump(letter.payload));
}

Status Show(const DlqFlags& flags, const Opened& opened) {
  ASSIGN_OR_RETURN(const auto tables, TablesOf(opened));
  using delta::Comparator;
  const delta::Conjunction place = {
      {.column = "topic", .comparator = Comparator::kEqual, .values = {flags.topic}},
      {.column = "partition", .comparator = Comparator::kEqual, .values = {static_cast<std::int64_t>(flags.partition)}},
      {.column = "offset", .comparator = Comparator::kEqual, .values = {flags.offset}}};
  std::vector<pipeline::StoredLetter> letters;
  const auto keep = [&letters](pipeline::StoredLetter letter) {
    letters.push_back(std::move(letter));
    return Status::OK();
  };
  RETURN_NOT_OK(pipeline::VisitLetters(*tables.back().table, {.where = {}, .and_also = place}, keep));
  if (letters.empty()) {
    return NotFound("{} has no letter of {}[{}] offset {}", opened.plan->tables.back().name, flags.topic,
                    flags.partition, flags.offset);
  }
  std::stable_sort(letters.begin(), letters.end(), [](const auto& a, const auto& b) { return a.replay < b.replay; });
  if (flags.raw) {
    const auto& payload = letters.front().letter.payload;  // All have the record's bytes.
    const bool written = std::fwrite(payload.data(), 1, payload.size(), stdout) == payload.size();
    return written && std::fflush(stdout) == 0 ? Status::OK() : Transient("cannot write to standard output");
  }
  std::string text;
  if (flags.output == "json") {
    json::array items;
    for (const auto& letter : letters) items.push_back(pipeline::LetterJson(letter));
    text = json::serialize(items) + "\n";
  } else {
    for (const auto& letter : letters) text += (text.empty() ? "" : "\n") + LetterToText(letter);
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return Status::OK();
}

// ---- replay -----------------------------------------------------------------------------------------------------

std::string ReportToText(const pipeline::ReplayReport& report, bool dry_run) {
  std::string text =
      fmt::format("{} {} letters", dry_run ? "would run again" : "ran again", WithThousands(report.letters));
  text += dry_run ? "\n" : fmt::format(" in {} replays\n", WithThousands(report.replays));
  if (report.finished > 0) text += fmt::format("finished first: {} parts of an earlier replay\n", report.finished);
  if (report.lost > 0) {
    text += fmt::format("given up: {} parts of an earlier replay, whose files are gone; their letters are open again\n",
                        report.lost);
  }
  for (const auto& [state, count] : report.left_out) {
    text += fmt::format("left out: {} {}", WithThousands(count), pipeline::ToString(state));
    if (state == pipeline::LetterState::kWaiting) {
      text += fmt::format(": table {} has not read as far; run the pipeline first", report.waits_for);
    } else if (state == pipeline::LetterState::kUnplaced) {
      text += ": their topic, transform or table is not in the file";
    }
    text += "\n";
  }
  if (!report.tables.empty()) {
    std::vector<std::vector<std::string>> rows = {{"table", "records", "written", "filtered", "failed again"}};
    for (const auto& [name, counts] : report.tables) {
      rows.push_back({name, WithThousands(counts.replayed), WithThousands(counts.written),
                      WithThousands(counts.filtered), WithThousands(counts.failed())});
    }
    text += RenderTable(rows);
  }
  if (!report.failed.empty()) {
    std::vector<std::vector<std::string>> rows = {{"failed again at", "reason", "letters"}};
    for (const auto& [place, count] : report.failed) rows.push_back({place.first, place.second, WithThousands(count)});
    text += RenderTable(rows);
  }
  return text;
}

std::string ReportToJson(const pipeline::ReplayReport& report, bool dry_run) {
  json::object left_out;
  for (const auto& [state, count] : report.left_out) left_out[pipeline::ToString(state)] = count;
  json::array tables;
  for (const auto& [name, counts] : report.tables) {
    tables.push_back(json::object{{"name", name},
                                  {"replayed", counts.replayed},
                                  {"written", counts.written},
                                  {"filtered", counts.filtered},
                                  {"failed", counts.failed()}});
  }
  json::array failed;
  for (const auto& [place, count] : report.failed) {
    failed.push_back(json::object{{"stage", place.first}, {"reason", place.second}, {"letters", count}});
  }
  return json::serialize(json::object{{"dry_run", dry_run},
                                      {"letters", report.letters},
                                      {"replays", report.replays},
                                      {"finished_parts", report.finished},
                                      {"lost_parts", report.lost},
                                      {"left_out", std::move(left_out)},
                                      {"tables", std::move(tables)},
                                      {"failed", std::move(failed)}}) +
         "\n";
}

Status RunReplay(const DlqFlags& flags, const Opened& opened) {
  // It makes tables that are new in the file, but no lake out of nothing: there is no letter yet.
  const int letters = opened.plan->dead_letters();
  ASSIGN_OR_RETURN(const auto store, pipeline::OpenTableStore(*opened.plan, letters, opened.lake));
  RETURN_NOT_OK(WithFirstRun(delta::Table::Open(store).status(), opened.file));
  if (flags.dry_run) RETURN_NOT_OK(TablesOf(opened).status());
  ASSIGN_OR_RETURN(const auto report,
                   pipeline::ReplayLetters(opened.plan, opened.lake, {.where = flags.where, .dry_run = flags.dry_run}));
  const auto text = flags.output == "json" ? ReportToJson(report, flags.dry_run) : ReportToText(report, flags.dry_run);
  std::fputs(text.c_str(), stdout);
  return Status::OK();
}

}  // namespace

Run AddDlqList(CLI::App& app) {
  auto flags = std::make_shared<DlqFlags>();
  AddConfig(app, *flags);
  AddWhere(app, *flags);
  AddOutput(app, *flags, {"table", "json", "csv"});
  app.footer(
      "States: open: 'dlq replay' runs it again. replayed: it has been, into every table that missed it; if it failed "
      "again, there is a newer letter. waiting: a table has not read as far yet. unplaced: its topic, transform or "
      "table is not in the file any more.");
  return [flags] { return OnPipeline(*flags, [&](const Opened& opened) { return List(*flags, opened); }); };
}

Run AddDlqShow(CLI::App& app) {
  auto flags = std::make_shared<DlqFlags>();
  AddConfig(app, *flags);
  app.add_option("topic", flags->topic, "The record's topic")->required();
  app.add_option("partition", flags->partition, "Its partition")->required()->check(CLI::NonNegativeNumber);
  app.add_option("offset", flags->offset, "Its offset")->required()->check(CLI::NonNegativeNumber);
  AddOutput(app, *flags, {"table", "json"});
  app.add_flag("--raw", flags->raw, "The record's payload alone, byte for byte");
  app.footer("Every letter of the record, oldest first. Bytes that are no plain text are shown in hexadecimal.");
  return [flags] { return OnPipeline(*flags, [&](const Opened& opened) { return Show(*flags, opened); }); };
}

Run AddDlqReplay(CLI::App& app) {
  auto flags = std::make_shared<DlqFlags>();
  AddConfig(app, *flags);
  AddWhere(app, *flags);
  AddOutput(app, *flags, {"table", "json"});
  app.add_flag("--dry-run", flags->dry_run, "Say what would become of them; write nothing");
  app.footer(
      "Each letter's record goes through the pipeline as the file describes it now, into the tables that the letter "
      "keeps it from, once. What fails again gets a new letter with its new reason. May run beside the pipeline, and "
      "be "
      "stopped at any moment: the same command goes on. The exit code is 0 when the run is done, even if some failed "
      "again.");
  return [flags] { return OnPipeline(*flags, [&](const Opened& opened) { return RunReplay(*flags, opened); }); };
}

}  // namespace millrace::app
