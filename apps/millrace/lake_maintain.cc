// millrace lake optimize, vacuum, checkpoint, cleanup: upkeep of any Delta table, by hand.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "delta/upkeep/compaction.h"
#include "delta/upkeep/vacuum.h"
#include "flag_checks.h"
#include "lake_table.h"
#include "query/time_expression.h"
#include "text_table.h"

namespace millrace::app {
namespace {

namespace json = boost::json;

void Print(const json::object& object) { std::printf("%s\n", json::serialize(object).c_str()); }

// One line on a terminal that grows; nothing elsewhere.
void ShowProgress(std::size_t done, std::size_t total) {
  if (isatty(STDERR_FILENO) == 0 || total == 0) return;
  constexpr std::size_t kWidth = 40;
  const std::size_t filled = done * kWidth / total;
  std::fprintf(stderr, "\r[%s%s] %zu of %zu groups%s", std::string(filled, '#').c_str(),
               std::string(kWidth - filled, '.').c_str(), done, total, done == total ? "\n" : "");
  std::fflush(stderr);
}

Result<std::optional<std::chrono::milliseconds>> Retention(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto micros = query::ParseDuration(text);
  if (!micros.ok()) return WithContext(micros.status(), "--retention");
  return std::chrono::milliseconds(*micros / 1000);
}

struct LakeMaintainFlags {
  lake::TableAt at;
  std::string retention;
  bool dry_run = false;
  bool force = false;
  std::int64_t target_mib = 128;
  int min_files = 2;
};

Status Optimize(const LakeMaintainFlags& options) {
  ASSIGN_OR_RETURN(const auto table, lake::OpenTable(options.at));
  ASSIGN_OR_RETURN(const auto result, delta::Compact(*table,
                                                     {.target_bytes = options.target_mib << 20,
                                                      .min_files = static_cast<std::size_t>(options.min_files)},
                                                     [](std::size_t done, std::size_t total) {
                                                       ShowProgress(done, total);
                                                       return true;
                                                     }));
  Print({{"version", table->snapshot()->version},
         {"files_removed", result.files_removed},
         {"files_added", result.files_added},
         {"bytes_removed", result.bytes_removed},
         {"bytes_added", result.bytes_added},
         {"rows", result.rows},
         {"groups_lost_to_other_writers", result.groups_lost}});
  return Status::OK();
}

Status Vacuum(const LakeMaintainFlags& options) {
  constexpr std::chrono::milliseconds kWeek = std::chrono::hours(24 * 7);
  ASSIGN_OR_RETURN(const auto retention, Retention(options.retention));
  if (retention && *retention < kWeek && !options.force) {
    return InvalidInput(
        "--retention {} is less than a week: readers of older versions, and writers that have not committed yet, would "
        "lose their files; --force if there are none",
        options.retention);
  }
  ASSIGN_OR_RETURN(const auto table, lake::OpenTable(options.at));
  ASSIGN_OR_RETURN(const auto result, delta::Vacuum(*table, {.retention = retention, .dry_run = options.dry_run}));
  for (const auto& key : result.deleted) std::printf("%s\n", key.c_str());
  std::fprintf(stderr, "%s %zu files (%s); %lld more are not referenced but too young\n",
               options.dry_run ? "would delete" : "deleted", result.deleted.size(), HumanBytes(result.bytes).c_str(),
               static_cast<long long>(result.kept_young));
  return Status::OK();
}

Status Checkpoint(const LakeMaintainFlags& options) {
  ASSIGN_OR_RETURN(const auto table, lake::OpenTable(options.at));
  RETURN_NOT_OK(table->WriteCheckpoint());
  Print(
      {{"version", table->snapshot()->version}, {"files", static_cast<std::int64_t>(table->snapshot()->files.size())}});
  return Status::OK();
}

Status Cleanup(const LakeMaintainFlags& options) {
  constexpr std::chrono::milliseconds kDay = std::chrono::hours(24);
  ASSIGN_OR_RETURN(const auto retention, Retention(options.retention));
  if (retention && *retention < kDay && !options.force) {
    return InvalidInput(
        "--retention {} is less than a day: readers and writers that are slower would find their part of the log gone; "
        "--force if there are none",
        options.retention);
  }
  ASSIGN_OR_RETURN(const auto table, lake::OpenTable(options.at));
  ASSIGN_OR_RETURN(const auto result, delta::CleanUpLog(*table, retention));
  Print({{"log_begins_at", result.begins_at ? json::value(*result.begins_at) : json::value(nullptr)},
         {"files_deleted", result.files_deleted}});
  return Status::OK();
}

Run RunWith(const std::shared_ptr<LakeMaintainFlags>& options, Status (*verb)(const LakeMaintainFlags&)) {
  return [options, verb] {
    const Status status = verb(*options);
    return status.ok() ? kOk : Complain(status);
  };
}

}  // namespace

Run AddLakeOptimize(CLI::App& app) {
  auto options = std::make_shared<LakeMaintainFlags>();
  lake::AddTable(app, options->at);
  app.add_option("--target-mib", options->target_mib, "Size of the files to make, in MiB")
      ->check(WholeNumber(1, 16384))
      ->capture_default_str();
  app.add_option("--min-files", options->min_files, "Small files of a partition that are worth it")
      ->check(WholeNumber(2, 100'000))
      ->capture_default_str();
  return RunWith(options, Optimize);
}

Run AddLakeVacuum(CLI::App& app) {
  auto options = std::make_shared<LakeMaintainFlags>();
  lake::AddTable(app, options->at);
  app.add_option(
      "--retention", options->retention,
      "Only files older than this, as in 7d; else the table's delta.deletedFileRetentionDuration, or a week");
  app.add_flag("--dry-run", options->dry_run, "Only list what would be deleted");
  app.add_flag("--force", options->force, "Allow a retention of less than a week");
  return RunWith(options, Vacuum);
}

Run AddLakeCheckpoint(CLI::App& app) {
  auto options = std::make_shared<LakeMaintainFlags>();
  lake::AddTable(app, options->at);
  return RunWith(options, Checkpoint);
}

Run AddLakeCleanup(CLI::App& app) {
  auto options = std::make_shared<LakeMaintainFlags>();
  lake::AddTable(app, options->at);
  app.add_option("--retention", options->retention,
                 "Keep the log of this long, as in 30d; else the table's delta.logRetentionDuration, or 30 days");
  app.add_flag("--force", options->force, "Allow a retention of less than a day");
  return RunWith(options, Cleanup);
}

}  // namespace millrace::app
