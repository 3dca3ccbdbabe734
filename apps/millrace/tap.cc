// millrace tap: what is in a log, as a pipeline's input or transform sees it, without a trace in the log.
#include <fmt/ranges.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "base/nearest_name.h"
#include "base/quantity_text.h"
#include "commands.h"
#include "eventlog/embedded/embedded_log.h"
#include "eventlog/kafka/kafka_log.h"
#include "flag_checks.h"
#include "model/readable_letters.h"
#include "pipeline/relation_reader.h"
#include "query/row_filter.h"
#include "serve/answer_writer.h"
#include "service.h"
#include "text_table.h"

namespace millrace::app {
namespace {

using std::chrono::steady_clock;

// Of one look into the log; what it becomes is several times as much, for a moment.
constexpr std::size_t kRecordsAtOnce = 1000;
constexpr std::size_t kBytesAtOnce = 1 << 20;
constexpr std::chrono::seconds kLogTimeout{30};
// An embedded log of another process does not say when it has more.
constexpr int kPollMs = 100;

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

// By its name, among the relations that are inputs, or those that are transforms. No name: the only input.
Result<int> FindRelation(const pipeline::Plan& plan, const TapFlags& flags) {
  const bool of_transforms = !flags.transform.empty();
  const std::string& wanted = of_transforms ? flags.transform : flags.input;
  std::vector<std::string> names;
  for (int r = 0; r < std::ssize(plan.relations); ++r) {
    if ((plan.relations[r].parent >= 0) != of_transforms) continue;
    if (plan.relations[r].name == wanted) return r;
    names.push_back(plan.relations[r].name);
  }
  if (wanted.empty() && names.size() == 1) return 0;
  if (wanted.empty())
    return InvalidInput("there are several inputs, name one with --input: {}", fmt::join(names, ", "));
  std::string instead = DidYouMean(wanted, names);
  if (instead.empty()) instead = names.empty() ? "; it has none" : fmt::format("; it has {}", fmt::join(names, ", "));
  return InvalidInput("the pipeline has no {} '{}'{}", of_transforms ? "transform" : "input", wanted, instead);
}

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

class Tap {
 public:
  explicit Tap(const TapFlags& flags) : flags_(flags) {}

  Status Open(const std::shared_ptr<const pipeline::Plan>& plan) {
    ASSIGN_OR_RETURN(const int relation, FindRelation(*plan, flags_));
    ASSIGN_OR_RETURN(relation_, pipeline::RelationReader::Make(plan, relation));
    if (!flags_.where.empty()) {
      const auto schema = flags_.dead_letters ? model::ReadableLetterSchema() : relation_->schema();
      ASSIGN_OR_RETURN(filter_, query::RowFilter::Make(flags_.where, schema));
    }
    plan_ = plan;
    input_ = plan->relations[static_cast<std::size_t>(relation)].input;
    return Status::OK();
  }

  /// Until a signal, the limit, `deadline` or the end.
  Status Run(std::optional<steady_clock::time_point> deadline) {
    ASSIGN_OR_RETURN(const auto log, OpenReader(plan_->config.source));
    ASSIGN_OR_RETURN(const auto topics, TopicsToRead(*log));
    RETURN_NOT_OK(log->Subscribe(topics, kLogTimeout));
    ASSIGN_OR_RETURN(const auto partitions, log->Partitions(topics, kLogTimeout));
    ASSIGN_OR_RETURN(const auto bounds, log->Bounds(partitions, kLogTimeout));
    model::OffsetVector start;
    std::set<model::TopicPartition> open;
    for (const auto& [partition, range] : bounds) {
      start[partition] = flags_.from_start ? range.begin
                         : flags_.last     ? std::max(range.begin, range.end - std::min(*flags_.last, range.end))
                                           : range.end;
      if (start[partition] < range.end) open.insert(partition);
    }
    static_cast<void>(log->Poll(1));  // The assignment.
    RETURN_NOT_OK(log->Start(start).status());
    // Not before: a signal while a broker is asked, which may take long, ends the process at once.
    for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, Interrupt);
    while (interrupted == 0 && !IsFull() && (!flags_.until_end || !open.empty())) {
      int wait_ms = kPollMs;
      if (deadline) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - steady_clock::now()).count();
        if (left <= 0) break;
        wait_ms = static_cast<int>(std::min<std::int64_t>(wait_ms, left));
      }
      pollfd wake{log->wake_fd(), POLLIN, 0};
      static_cast<void>(::poll(&wake, 1, wait_ms));  // A signal ends it, too.
      for (const auto& event : log->Poll(kRecordsAtOnce, kBytesAtOnce)) {
        if (const auto* failed = std::get_if<eventlog::Failed>(&event)) {
          if (KindOf(failed->status) != ErrorKind::kTransient) return failed->status;
          if (told_.size() < kToldMax && told_.insert(failed->status.message()).second) Complain(failed->status);
        } else if (const auto* end = std::get_if<eventlog::ReachedEnd>(&event)) {
          if (end->end >= bounds.at(end->source).end) open.erase(end->source);
        } else if (const auto* fetched = std::get_if<model::FetchedRecords>(&event)) {
          if (IsFull()) break;
          const auto show = [this](const auto& records) { return IsFull() ? Status::OK() : Show(records); };
          RETURN_NOT_OK(model::ForEachPiece(*fetched, kRecordsAtOnce, kBytesAtOnce, &unpacked_, show));
          if (fetched->range.end >= bounds.at(fetched->source).end) open.erase(fetched->source);
        }
      }
    }
    return Status::OK();
  }

  /// What was not shown, for stderr.
  std::string Summary() const {
    return fmt::format("{} records: {} rows, {} dead letters{}, {} filtered, {} tombstones", records_, rows_, letters_,
                       letters_ > 0 && !flags_.dead_letters ? " (--dead-letters shows them)" : "", filtered_,
                       tombstones_);
  }

 private:
  static constexpr std::size_t kToldMax = 20;

  // Those of the input: with patterns, what the log has now.
  Result<std::vector<std::string>> TopicsToRead(eventlog::Consumer& log) const {
    const auto& input = plan_->inputs[static_cast<std::size_t>(input_)];
    if (input.patterns.empty()) return input.topics;
    ASSIGN_OR_RETURN(auto there, log.Topics(kLogTimeout));
    ASSIGN_OR_RETURN(auto topics, plan_->TopicsAmong(std::move(there)));
    std::erase_if(topics, [this](const auto& topic) { return plan_->FindInput(topic) != input_; });
    if (topics.empty()) {
      return NotFound("the input {} has no topic yet: none that '{}' takes is there", input.name,
                      input.patterns.front().text());
    }
    return topics;
  }

  bool IsFull() const { return flags_.limit && shown_ >= *flags_.limit; }

  Status Show(const model::FetchedRecords& records) {
    ASSIGN_OR_RETURN(const auto made, relation_->Read(records));
    records_ += std::ssize(records.records);
    rows_ += made.rows->num_rows();
    letters_ += std::ssize(made.letters);
    filtered_ += made.filtered;
    tombstones_ += made.tombstones;
    auto shown = flags_.dead_letters ? model::ToReadableBatch(made.letters) : made.rows;
    if (filter_ != nullptr && shown->num_rows() > 0) {
      ASSIGN_OR_RETURN(shown, filter_->Apply(shown));
    }
    if (flags_.limit) shown = shown->Slice(0, std::min(shown->num_rows(), *flags_.limit - shown_));
    if (shown->num_rows() == 0) return Status::OK();
    shown_ += shown->num_rows();
    std::string text;
    if (flags_.output == "table") {
      ASSIGN_OR_RETURN(text, table_.Render(*shown));
    } else {
      RETURN_NOT_OK(serve::AppendNdjson(*shown, text));
    }
    return PutOut(text);
  }

  const TapFlags flags_;
  std::shared_ptr<const pipeline::Plan> plan_;
  int input_ = 0;  // Of the plan, whose events the relation's rows are made of.
  std::unique_ptr<pipeline::RelationReader> relation_;
  std::unique_ptr<query::RowFilter> filter_;
  RunningTable table_;
  model::FetchedRecords unpacked_;  // A piece of a fetch.
  std::set<std::string> told_;      // Of failures that pass: each once.
  std::int64_t shown_ = 0;
  std::int64_t records_ = 0;
  std::int64_t rows_ = 0;
  std::int64_t letters_ = 0;
  std::int64_t filtered_ = 0;
  std::int64_t tombstones_ = 0;
};

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
    Tap tap(*options);
    const Status opened = tap.Open(plan);
    if (!opened.ok()) return Complain(opened, kUsage);
    const Status done = tap.Run(deadline);
    std::fprintf(stderr, "%s\n", tap.Summary().c_str());
    return done.ok() ? kOk : Complain(done);
  };
}

}  // namespace millrace::app
