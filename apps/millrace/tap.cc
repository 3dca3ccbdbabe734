// millrace tap: what is in a log, as a pipeline's input or transform sees it, without a trace in the log.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/quantity_text.h"
#include "commands.h"
#include "eventlog/embedded/embedded_log.h"
#include "eventlog/kafka/kafka_log.h"
#include "flag_checks.h"
#include "pipeline/event_tap.h"
#include "serve/answer_writer.h"
#include "service.h"
#include "text_table.h"

namespace millrace::app {
namespace {

using std::chrono::steady_clock;

// An embedded log of another process does not say when it has more.
constexpr std::chrono::milliseconds kPoll{100};
constexpr auto kNoLimit = std::numeric_limits<std::int64_t>::max();

struct TapFlags {
  std::string config;
  std::vector<std::string> overrides;
  std::string input;
  std::string transform;
  std::string where;
  bool dead_letters = false;
  bool from_start = false;
  std::optional<std::int64_t> last;
  bool until_end = false;
  std::optional<std::int64_t> limit;
  std::string duration;
  std::string output = "json";
};

volatile std::sig_atomic_t interrupted = 0;
void Interrupt(int) { interrupted = 1; }

Result<std::unique_ptr<eventlog::Consumer>> OpenReader(const config::SourceConfig& source) {
  if (const auto* kafka = std::get_if<config::KafkaSource>(&source.log)) {
    return eventlog::MakeKafkaReader(kafka->properties);
  }
  ASSIGN_OR_RETURN(const auto log,
                   eventlog::EmbeddedLog::OpenToRead(std::get<config::EmbeddedSource>(source.log).path));
  return log->NewConsumer();
}

Status PutOut(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return written ? Status::OK() : Transient("cannot write to standard output");
}

Status Print(const arrow::RecordBatch& rows, const TapFlags& flags, RunningTable& table) {
  std::string text;
  if (flags.output == "table") {
    ASSIGN_OR_RETURN(text, table.Render(rows));
  } else {
    RETURN_NOT_OK(serve::AppendNdjson(rows, text));
  }
  return PutOut(text);
}

/// Until a signal, the limit, `deadline` or the end.
Status Watch(pipeline::EventTap& tap, const config::SourceConfig& source, const TapFlags& flags,
             std::optional<steady_clock::time_point> deadline) {
  ASSIGN_OR_RETURN(auto log, OpenReader(source));
  pipeline::EventTap::Start start;
  start.last = flags.from_start ? std::nullopt : std::optional(flags.last.value_or(0));
  RETURN_NOT_OK(tap.Open(std::move(log), start));
  // Not before: a signal while a broker is asked, which may take long, ends the process at once.
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, Interrupt);
  RunningTable table;
  serve::TapLimits limits{.shown = flags.limit.value_or(kNoLimit), .looked_at = kNoLimit};
  while (interrupted == 0 && limits.shown > 0 && (!flags.until_end || !tap.HasReachedEnd())) {
    auto wait = kPoll;
    if (deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - steady_clock::now());
      if (left.count() <= 0) break;
      wait = std::min(wait, left);
    }
    ASSIGN_OR_RETURN(const auto seen, tap.Look(wait, limits));
    for (const auto& trouble : seen.troubles) Complain(Transient("{}", trouble));
    for (const auto& rows : flags.dead_letters ? seen.letters : seen.rows) {
      RETURN_NOT_OK(Print(*rows, flags, table));
      limits.shown -= rows->num_rows();
    }
  }
  return Status::OK();
}

/// What was not shown, for stderr.
std::string Summary(const pipeline::EventTap::Counts& counts, const TapFlags& flags) {
  return fmt::format("{} records{}: {} rows, {} dead letters{}, {} filtered, {} tombstones", counts.records,
                     counts.further > 0 ? fmt::format(" and {} further documents in them", counts.further) : "",
                     counts.rows, counts.letters,
                     counts.letters > 0 && !flags.dead_letters ? " (--dead-letters shows them)" : "", counts.filtered,
                     counts.tombstones);
}

}  // namespace

Run AddTap(CLI::App& app) {
  auto options = std::make_shared<TapFlags>();
  app.add_option("-c,--config", options->config, "The pipeline's file")->required()->type_name("FILE");
  app.add_option("--set", options->overrides, "Set a key of the file: source.topics=[a]")
      ->type_name("KEY=VALUE")
      ->check(CheckKeyValue);
  auto* const input =
      app.add_option("--input", options->input, "Show the events of this input; the only one if not given");
  app.add_option("--transform", options->transform, "Show what this transform makes of them")->excludes(input);
  app.add_option("--where", options->where, "Only rows for which this DuckDB expression is true");
  app.add_flag("--dead-letters", options->dead_letters,
               "Show the records that do not become rows, with stage and reason, instead of the rows");
  auto* const from_start =
      app.add_flag("--from-start", options->from_start, "Begin with what the log holds, not at its end");
  app.add_option("--last", options->last, "Begin so many records before the end of each partition")
      ->check(WholeNumber(0))
      ->excludes(from_start);
  app.add_flag("--until-end", options->until_end, "Stop at the end offsets seen at the start");
  app.add_option("--limit", options->limit, "Stop after so many rows")->check(WholeNumber(1));
  app.add_option("--for", options->duration, "Stop after this time, such as 10s")->check([](const std::string& text) {
    return ParseDuration(text).ok() ? std::string() : "expected a time such as 10s, not '" + text + "'";
  });
  app.add_option("-o,--output", options->output, "json: a line each; table: for people")
      ->check(CLI::IsMember({"json", "table"}))
      ->capture_default_str();
  return [options] {
    std::optional<steady_clock::time_point> deadline;
    if (!options->duration.empty()) deadline = steady_clock::now() + *ParseDuration(options->duration);
    const auto plan = LoadPlanOrComplain(options->config, options->overrides, ReadsLog::kYes);
    if (plan == nullptr) return kBadConfiguration;
    using Shows = pipeline::EventTap::Shows;
    const auto tap = pipeline::EventTap::Make(plan, {.input = options->input,
                                                     .transform = options->transform,
                                                     .where = options->where,
                                                     .shows = options->dead_letters ? Shows::kLetters : Shows::kRows});
    if (!tap.ok()) return Complain(tap.status(), kUsage);
    const Status done = Watch(**tap, plan->config.source, *options, deadline);
    std::fprintf(stderr, "%s\n", Summary((*tap)->counts(), *options).c_str());
    return done.ok() ? kOk : Complain(done);
  };
}

}  // namespace millrace::app
