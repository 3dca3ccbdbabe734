#include <CLI/CLI.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <cstdio>
#include <memory>

#include "audit_report.h"
#include "commands.h"
#include "flag_checks.h"
#include "objectstore/object_store.h"
#include "pipeline/plan.h"
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

std::string AuditToJson(const pipeline::AuditReport& report) {
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
  return json::serialize(json::object{{"ok", report.ok()}, {"tables", std::move(tables)}});
}

Run AddAudit(CLI::App& app) {
  struct Options {
    std::string config;
    std::vector<std::string> overrides;
    std::string output = "table";
  };
  auto options = std::make_shared<Options>();
  app.add_option("-c,--config", options->config, "The pipeline's file")->required()->type_name("FILE");
  app.add_option("--set", options->overrides, "Set a key of the file")->type_name("KEY=VALUE")->check(CheckKeyValue);
  app.add_option("-o,--output", options->output, "Format")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  return [options] {
    const auto plan = LoadPlanOrComplain(options->config, options->overrides, ReadsLog::kNo);
    if (plan == nullptr) return kBadConfiguration;
    const auto lake = pipeline::OpenLake(plan->config.lake, objectstore::IfMissing::kRefuse);
    if (!lake.ok()) return Complain(WithFirstRun(lake.status(), options->config));
    const auto report = pipeline::Audit(*plan, *lake);
    if (!report.ok()) return Complain(WithFirstRun(report.status(), options->config));
    const std::string text = options->output == "json" ? AuditToJson(*report) + "\n" : AuditToText(*report);
    std::fputs(text.c_str(), stdout);
    return report->ok() ? kOk : kFailed;
  };
}

}  // namespace millrace::app
