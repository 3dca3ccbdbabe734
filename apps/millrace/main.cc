#include <CLI/CLI.hpp>
#include <cstdlib>
#include <utility>
#include <vector>

#include "base/journal.h"
#include "base/log.h"
#include "commands.h"
#include "flag_checks.h"

/// Read by jemalloc. An arena for each processor: with four times as many, threads that take turns leave four times the
/// freed pages behind. No threshold from which on freed memory goes to the system at once: buffers of some MiB are
/// wanted again a moment later, and MemoryBudget returns what is too much.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "percpu_arena:percpu,oversize_threshold:0";
}

namespace {

using millrace::app::Run;

struct Verb {
  CLI::App* app;
  Run run;
};

/// Flags to which an empty value means something.
bool MayBeEmpty(const CLI::Option& option) {
  return option.check_lname("group-by")                                // One group of all.
         || option.check_lname("json") || option.check_lname("avro");  // Of kafka-delta-ingest: without a registry.
}

}  // namespace

int main(int argc, char** argv) {
  using namespace millrace::app;
  // Arrow would keep a pool of its own beside the process's allocator: a quarter more memory, and more CPU time.
  ::setenv("ARROW_DEFAULT_MEMORY_POOL", "system", /*overwrite=*/0);
  // Standard output is for data, whatever goes wrong. Verbs that log more say so themselves.
  millrace::InitLogging("warn", millrace::LogFormat::kText);
  CLI::App app{
      "Millrace: events from a durable log into Delta Lake tables, exactly once, with answers in milliseconds."};
  app.name("millrace");
  app.require_subcommand(1);
  app.failure_message([](const CLI::App* failed, const CLI::Error& error) {
    return "millrace: " + std::string(error.what()) + "\nSee '" + failed->get_display_name() + " --help'.\n";
  });

  std::vector<Verb> verbs;
  const auto add = [&verbs](CLI::App& parent, const char* name, const char* description, Run (*make)(CLI::App&)) {
    CLI::App* const verb = parent.add_subcommand(name, description);
    verbs.push_back({verb, make(*verb)});
    for (CLI::Option* const option : verb->get_options()) {
      if (!MayBeEmpty(*option)) option->check(CheckNotEmpty);
    }
  };
  add(app, "demo", "Simulator, log, pipeline, lake, API and page in one process; nothing to install", AddDemo);
  add(app, "run", "Run a pipeline from its file", AddRun);
  add(app, "gateway", "Only the doors of a pipeline: what devices send, into its log", AddGateway);
  add(app, "init", "A pipeline file guessed from the records of a topic or a file", AddInit);
  add(app, "ingest", "One topic into one table, with kafka-delta-ingest's arguments", AddIngest);
  add(app, "simulate", "A fleet of devices that sends events", AddSimulate);
  add(app, "validate", "Check pipeline files; all findings at once", AddValidate);
  add(app, "doctor", "Look at all that a pipeline needs: what is wrong, and how to mend it", AddDoctor);
  add(app, "test", "Unit tests of pipelines: records in; rows, dead letters and aggregates out", AddTest);
  add(app, "audit", "Prove that the books of every table balance over its whole history", AddAudit);
  add(app, "query", "Ask an aggregate, over HTTP or straight from the lake", AddQuery);
  add(app, "sql", "SQL over the tables and aggregates of a pipeline, over HTTP or straight over the lake", AddSql);
  CLI::App* const dlq = app.add_subcommand("dlq", "Dead letters: look at them, and run them again");
  dlq->require_subcommand(1);
  add(*dlq, "list", "Dead letters by state, stage and reason", AddDlqList);
  add(*dlq, "show", "The letters of one record, with its bytes", AddDlqShow);
  add(*dlq, "replay", "Run dead letters through today's pipeline", AddDlqReplay);
  add(app, "tap", "Watch events, or what a transform makes of them, as they come into the log", AddTap);
  CLI::App* const lake = app.add_subcommand("lake", "Look at Delta tables, and after them");
  lake->require_subcommand(1);
  add(*lake, "create", "Make an empty table", AddLakeCreate);
  add(*lake, "describe", "Schema, version, files and offsets of a table", AddLakeDescribe);
  add(*lake, "history", "Commits of a table, newest first", AddLakeHistory);
  add(*lake, "files", "Live data files of a table", AddLakeFiles);
  add(*lake, "read", "Rows of a table on standard output", AddLakeRead);
  add(*lake, "optimize", "Pack small files into large ones", AddLakeOptimize);
  add(*lake, "vacuum", "Delete files that no recent version needs", AddLakeVacuum);
  add(*lake, "checkpoint", "Write a checkpoint of the newest version", AddLakeCheckpoint);
  add(*lake, "cleanup", "Delete old parts of the log", AddLakeCleanup);
  add(*lake, "view", "SQL that merges an aggregate's partial rows in another engine", AddLakeView);
  CLI::App* const cost = app.add_subcommand("cost", "What a pipeline costs a month");
  cost->require_subcommand(1);
  add(*cost, "estimate", "A load's bill, by provider and region, line by line", AddCostEstimate);
  add(*cost, "diff", "What changed between two estimates", AddCostDiff);
  CLI::App* const prices = cost->add_subcommand("prices", "The prices behind the estimates");
  prices->require_subcommand(1);
  add(*prices, "list", "Every price, or every gap", AddCostPricesList);
  add(*prices, "show", "One SKU in every region, with its sources", AddCostPricesShow);
  add(*prices, "verify", "Check price sheets; all findings at once", AddCostPricesVerify);
  add(*prices, "update", "A price sheet from a provider's public price file", AddCostPricesUpdate);
  add(app, "completion", "A script that completes commands and flags in a shell", AddCompletion);
  add(app, "man", "The manual page: millrace man | man -l -", AddManual);
  add(app, "version", "Version of this program and of the libraries in it", AddVersion);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kOk : kUsage;
  }
  for (const auto& verb : verbs) {
    if (verb.app->parsed()) return verb.run();
  }
  return kUsage;
}

namespace millrace::app {

int Complain(const Status& status, int code) {
  PrintError("millrace: " + status.message());
  return code;
}

}  // namespace millrace::app
