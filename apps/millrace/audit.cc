#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <cstdio>
#include <memory>

#include "audit_report.h"
#include "commands.h"
#include "flag_checks.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"
#include "pipeline/truth_audit.h"
#include "service.h"
#include "text_table.h"

namespace millrace::app {

namespace json = boost::json;

std::string AuditToText(const pipeline::AuditReport& report) {
  std::vector<std::vector<std::string>> rows = {{"table", "version", "files", "read", "further", "written",
                                                 "dead letters", "filtered", "repeats", "tombstones", "from replays",
                                                 "books"}};
  for (const auto& table : report.tables) {
    rows.push_back({table.name, std::to_string(table.version), WithThousands(table.num_files),
                    WithThousands(table.totals.read), WithThousands(table.totals.further),
                    WithThousands(table.totals.written), WithThousands(table.totals.dead_lettered),
                    WithThousands(table.totals.filtered), WithThousands(table.totals.deduplicated),
                    WithThousands(table.totals.tombstones), WithThousands(table.replays.written),
                    table.findings.empty() ? "balance" : "DO NOT BALANCE"});
  }
  std::string text = RenderTable(rows);
  for (const auto& table : report.tables) {
    for (const auto& finding : table.findings) text += "  " + table.name + ": " + finding + "\n";
  }
  return text;
}

namespace {

std::string TruthToText(const std::vector<pipeline::TruthReport>& reports) {
  std::vector<std::vector<std::string>> rows = {{"topic", "sent", "valid", "late", "duplicates", "malformed", "refused",
                                                 "unknown", "table", "rows", "repeats left out", "taken twice",
                                                 "dead letters", "accounts"}};
  for (const auto& [topic, sent, tables] : reports) {
    for (const auto& table : tables) {
      rows.push_back({topic, WithThousands(sent.sent), WithThousands(sent.valid), WithThousands(sent.late),
                      WithThousands(sent.duplicates), WithThousands(sent.malformed), WithThousands(sent.refused),
                      WithThousands(sent.unknown), table.name, WithThousands(table.found.rows),
                      WithThousands(table.found.repeats_left_out), WithThousands(table.found.taken_twice),
                      WithThousands(table.found.letters_of_malformed + table.found.letters_of_future),
                      table.findings.empty() ? "settled" : "NOT SETTLED"});
    }
  }
  std::string text = RenderTable(rows);
  for (const auto& report : reports) {
    for (const auto& table : report.tables) {
      for (const auto& finding : table.findings) text += "  " + table.name + ": " + finding + "\n";
    }
  }
  return text;
}

json::array TruthToJson(const std::vector<pipeline::TruthReport>& reports) {
  json::array topics;
  for (const auto& [topic, sent, tables] : reports) {
    json::array settled;
    for (const auto& [name, found, findings] : tables) {
      settled.push_back(json::object{{"name", name},
                                     {"rows", found.rows},
                                     {"repeats_left_out", found.repeats_left_out},
                                     {"letters_of_malformed", found.letters_of_malformed},
                                     {"letters_of_future", found.letters_of_future},
                                     {"taken_twice", found.taken_twice},
                                     {"missing_rows", found.missing_rows},
                                     {"surplus_rows", found.surplus_rows},
                                     {"missing_letters", found.missing_letters},
                                     {"surplus_letters", found.surplus_letters},
                                     {"findings", json::value_from(findings)}});
    }
    topics.push_back(json::object{{"topic", topic},
                                  {"sent", sent.sent},
                                  {"valid", sent.valid},
                                  {"late", sent.late},
                                  {"duplicates", sent.duplicates},
                                  {"malformed", sent.malformed},
                                  {"acknowledged", sent.acknowledged},
                                  {"refused", sent.refused},
                                  {"unknown", sent.unknown},
                                  {"tables", std::move(settled)}});
  }
  return topics;
}

json::object AuditDocument(const pipeline::AuditReport& report) {
  json::array tables;
  for (const auto& table : report.tables) {
    json::object offsets;
    for (const auto& [source, next] : table.next) offsets[model::ToString(source)] = next;
    tables.push_back(json::object{{"name", table.name},
                                  {"kind", config::ToString(table.kind)},
                                  {"version", table.version},
                                  {"files", table.num_files},
                                  {"rows", table.rows},
                                  {"read", table.totals.read},
                                  {"further", table.totals.further},
                                  {"written", table.totals.written},
                                  {"dead_lettered", table.totals.dead_lettered},
                                  {"filtered", table.totals.filtered},
                                  {"deduplicated", table.totals.deduplicated},
                                  {"tombstones", table.totals.tombstones},
                                  {"replayed", table.replays.replayed},
                                  {"replayed_further", table.replays.further},
                                  {"replayed_written", table.replays.written},
                                  {"replayed_filtered", table.replays.filtered},
                                  {"next_offsets", std::move(offsets)},
                                  {"findings", json::value_from(table.findings)}});
  }
  return json::object{{"ok", report.ok()}, {"tables", std::move(tables)}};
}

}  // namespace

std::string AuditToJson(const pipeline::AuditReport& report) { return json::serialize(AuditDocument(report)); }

Run AddAudit(CLI::App& app) {
  struct Options {
    std::string config;
    std::vector<std::string> overrides;
    std::string output = "table";
    std::vector<std::string> truths;
  };
  auto options = std::make_shared<Options>();
  app.add_option("-c,--config", options->config, "The pipeline's file")->required()->type_name("FILE");
  app.add_option("--set", options->overrides, "Set a key of the file")->type_name("KEY=VALUE")->check(CheckKeyValue);
  app.add_option("-o,--output", options->output, "Format")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.add_option("--truth", options->truths, "Settle what 'simulate --truth' says of each event; once for each file")
      ->type_name("FILE")
      ->allow_extra_args(false);
  return [options] {
    const auto plan = LoadPlanOrComplain(options->config, options->overrides, ReadsLog::kNo);
    if (plan == nullptr) return kBadConfiguration;
    const auto lake = pipeline::OpenLake(plan->config.lake, objectstore::IfMissing::kRefuse);
    if (!lake.ok()) return Complain(WithFirstRun(lake.status(), options->config));
    const auto report = pipeline::Audit(*plan, *lake);
    if (!report.ok()) return Complain(WithFirstRun(report.status(), options->config));
    std::vector<pipeline::TruthReport> truths;
    if (!options->truths.empty()) {
      auto settled = pipeline::AuditTruth(*plan, *lake, *report, options->truths);
      if (!settled.ok()) {
        return Complain(settled.status(), KindOf(settled.status()) == ErrorKind::kInvalidInput ? kUsage : kFailed);
      }
      truths = *std::move(settled);
    }
    const bool are_settled = std::all_of(truths.begin(), truths.end(), [](const auto& truth) { return truth.ok(); });
    std::string text;
    if (options->output == "json") {
      auto document = AuditDocument(*report);
      document["ok"] = report->ok() && are_settled;
      if (!truths.empty()) document["truth"] = TruthToJson(truths);
      text = json::serialize(document) + "\n";
    } else {
      text = AuditToText(*report);
      if (!truths.empty()) text += "\n" + TruthToText(truths);
    }
    std::fputs(text.c_str(), stdout);
    return report->ok() && are_settled ? kOk : kFailed;
  };
}

}  // namespace millrace::app
