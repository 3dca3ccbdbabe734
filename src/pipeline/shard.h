/// One compute shard: fetched records in, the open epochs of every table out. Plain and synchronous; the worker gives
/// each shard a thread, and a partition belongs to one shard at a time, so nothing here is locked.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "ingest/event_decoder.h"
#include "lookup/lookup_set.h"
#include "model/event_batch.h"
#include "pipeline/earlier_judgements.h"
#include "pipeline/plan.h"
#include "pipeline/sink.h"
#include "pipeline/watermark.h"
#include "process/deduplicator.h"
#include "process/transform.h"

namespace millrace::pipeline {

/// What a partition's records have shown so far. Written by its shard, read by anyone.
struct PartitionProgress {
  std::atomic<model::Offset> next{0};
  std::atomic<model::Offset> begun{0};  ///< After the records that max_event_time is of; at least `next`.
  std::atomic<std::int64_t> records{0};
  std::atomic<std::int64_t> bytes{0};
  std::atomic<UnixMicros> max_event_time{INT64_MIN};  ///< Of the events that may move the watermark, see Witness().
  std::atomic<std::chrono::steady_clock::time_point> last_record{};  ///< When it came; the epoch: none yet.
  /// Of the newest record, from its timestamp in the log until answers had it; -1: none yet, or the log has none.
  std::atomic<std::int64_t> freshness_us{-1};
  std::atomic<bool> stands_still{false};  ///< There are records, and they cannot be decoded now.

  PartitionTimes times() const;
};

struct ShardOptions {
  /// What all of the shard's memory draws from; nullptr: counted nowhere but by memory_bytes().
  std::shared_ptr<MemoryBudget> budget = nullptr;
  /// What the keys that dedupe remembers may take, besides drawing from `budget`; nullptr: any amount.
  std::shared_ptr<MemoryBudget> dedupe_budget = nullptr;
  /// Keys and payloads that become one batch; a record is never split. Arrow's text columns end at 2 GiB, and a batch
  /// is several times its records' size while it is made.
  std::size_t piece_bytes_max = 8 << 20;
  std::size_t piece_records_max = 2048;  ///< Of a fetch that is packed, besides; at least 1.
  int open_files_max = 16;               ///< Of each event table, at least 1.
  /// Those of the plan; nullptr: it has none.
  std::shared_ptr<const lookup::LookupSet> lookups = nullptr;
  /// By table of the plan, for those with a route.
  std::map<int, std::shared_ptr<RouteFamily>> families{};
};

/// Reads the lookups of a plan, and blocks on it; nullptr: it has none. Errors as those of LookupSet::Load().
Result<std::shared_ptr<lookup::LookupSet>> LoadLookups(const Plan& plan, MemoryShare memory);

/// What to give each shard, so that all of a worker's data files that are open are about a hundred.
int OpenFilesPerTable(const Plan& plan, int num_shards);

/// Why a partition stands still: its records cannot be decoded now.
struct Hold {
  model::Offset next = 0;     ///< The first that was not taken.
  Status why;                 ///< kTransient.
  std::uint64_t answers = 0;  ///< WriterSchemas::answers() before it was tried: with another it may be tried again.
};

class Shard {
 public:
  /// `clock` outlives it.
  static Result<std::unique_ptr<Shard>> Make(std::shared_ptr<const Plan> plan,
                                             std::vector<std::shared_ptr<objectstore::ObjectStore>> table_stores,
                                             ShardOptions options = {}, const Clock& clock = SystemClock());

  /// Begins or moves a partition. `sinks`: one per table of the plan but the dead letters', those of tables that
  /// another input feeds are not looked at; `letter_stages`: per stage the first offset whose letters are not durable
  /// yet; `earlier`: what was decided about records that are read again, nullptr: nothing. Only records of `generation`
  /// are taken from now on. The first is at `read_from`; those before every sink's place are read for dedupe alone.
  struct PartitionStart {
    model::TopicPartition source;
    std::int64_t generation = 0;
    model::Offset read_from = 0;
    std::vector<SinkStart> sinks;
    std::map<std::string, model::Offset> letter_stages;
    std::shared_ptr<const EarlierJudgements> earlier;
    std::shared_ptr<PartitionProgress> progress;
    /// The records are dead letters that are run again: sinks whose `next` is past them may have their rows.
    bool is_replay = false;
    /// Of this partition, at `read_from`; nullptr: if the input is deduplicated, one in memory alone that begins there.
    std::unique_ptr<process::Deduplicator> dedupe = nullptr;
  };
  void Start(PartitionStart start);
  void Stop(const model::TopicPartition& source);

  /// Decodes by the input of their topic, transforms, and hands to every sink of that input that has not had these
  /// offsets yet. Records of another generation are ignored. nullopt: it has taken them. A hold: those before it, and
  /// the partition's others are ignored until Restart(). kTransient: a file could not be written (Discard
  /// everything, read again); kInvalidInput: decode.on_error is `fail` and a record did not fit. After a failure some
  /// sinks have the fetch and some do not: nothing more is taken, and nothing can be sealed, until Discard().
  Result<std::optional<Hold>> Process(const model::FetchedRecords& records);

  /// Likewise, of one who has nothing else to do than to wait for schemas, as long as kSchemaPatience for each that is
  /// missing; kTransient: one did not come. Blocks.
  Status ProcessPatiently(model::FetchedRecords records);

  /// After a hold: the records of `generation`, which begin where it is, are taken from now on.
  void Restart(const model::TopicPartition& source, std::int64_t generation);

  /// The open epoch of one table, see Sink::Seal. kTransient after a failed Process(): what is there must be discarded.
  Result<SealedPart> Seal(int table, std::int64_t epoch);

  /// By partition, before which offset every table has all records. What dedupe keeps on the disk for less is removed,
  /// and where keys have taken most of dedupe_budget, some go to the disk. Errors as Process(), for dedupe's reasons.
  Status Committed(const model::OffsetVector& lowest);

  /// Takes the dead letters collected since the last call. Whoever seals a sink takes these at the same moment, and
  /// makes them durable before it commits.
  std::vector<model::DeadLetter> TakeLetters();

  Sink& sink(int table) { return *sinks_[table]; }
  const Sink& sink(int table) const { return *sinks_[table]; }
  int num_sinks() const { return static_cast<int>(sinks_.size()); }

  /// Forgets everything that is not committed and all partitions.
  void Discard();

  /// Of open epochs, rows that are not committed, letters that were not taken, and keys that dedupe remembers.
  std::int64_t memory_bytes() const;

 private:
  struct Partition {
    int input;                // Of the plan.
    std::vector<int> tables;  // That it feeds.
    std::int64_t generation;
    model::Offset taken_from;                       // No table takes what is before it.
    std::unique_ptr<process::Deduplicator> dedupe;  // nullptr: the input is not deduplicated.
    std::map<std::string, model::Offset> letter_stages;
    std::shared_ptr<const EarlierJudgements> earlier;      // nullptr once everything is new.
    std::vector<std::vector<std::string>> retired_stages;  // By table.
    std::shared_ptr<PartitionProgress> progress;
    bool is_replay;
  };
  /// One relation's share of a fetch: its rows, and what was lost on the way there.
  struct RelationRows {
    std::shared_ptr<arrow::RecordBatch> rows;
    std::int64_t filtered = 0;
    std::int64_t deduplicated = 0;
    std::int64_t dead_lettered = 0;
    bool computed = false;
  };

  Shard(std::shared_ptr<const Plan> plan, ShardOptions options, const Clock& clock)
      : plan_(std::move(plan)), options_(std::move(options)), clock_(clock) {}
  Status ProcessWhole(const model::FetchedRecords& records, Partition& partition);
  /// Gives the offset that it has come to, which is before the piece's end where the decoder takes some of it.
  Result<model::Offset> ProcessPiece(const model::FetchedRecords& piece, Partition& partition);
  Result<ingest::Decoded> Decode(const model::FetchedRecords& piece, const Partition& partition);
  Status TakeDecoded(const model::FetchedRecords& piece, ingest::Decoded decoded, Partition& partition);
  Status JudgeTimes(const model::FetchedRecords& piece, const config::InputPlan& input, Partition& partition,
                    RelationRows& events);
  Status LeaveOutRepeats(const model::FetchedRecords& piece, std::uint32_t fingerprint, process::Deduplicator& dedupe,
                         RelationRows& events);
  Status MakeRoomForKeys();
  /// Takes out the rows that are dead letters of this stage already.
  Result<std::shared_ptr<arrow::RecordBatch>> WithoutDead(const std::string& stage,
                                                          const std::shared_ptr<arrow::RecordBatch>& rows,
                                                          const model::FetchedRecords& piece,
                                                          const Partition& partition, std::int64_t* dead) const;
  Result<RelationRows*> Relation(int index, const model::FetchedRecords& piece, Partition& partition);
  void AddFailed(const std::vector<process::FailedRow>& failed, const arrow::RecordBatch& rows,
                 const std::string& stage, const std::string& reason, const model::TopicPartition& source,
                 Partition& partition);
  void AddRefused(const std::vector<RefusedRow>& refused, const arrow::RecordBatch& rows, const std::string& stage,
                  const model::TopicPartition& source, Partition& partition);
  void AddLetter(model::DeadLetter letter, Partition& partition);
  void AddLetterOfTakers(model::DeadLetter letter, const Partition& partition);
  void KeepLetter(model::DeadLetter letter);

  std::shared_ptr<const Plan> plan_;
  const ShardOptions options_;
  const Clock& clock_;
  std::vector<std::unique_ptr<ingest::EventDecoder>> decoders_;  // By input.
  std::vector<std::unique_ptr<process::Transform>> transforms_;  // By relation; those of inputs are empty.
  std::vector<std::unique_ptr<Sink>> sinks_;                     // By table, without the dead letters'.
  std::map<model::TopicPartition, Partition> partitions_;
  model::FetchedRecords unpacked_;                          // Of a packed fetch the piece at hand.
  std::vector<RelationRows> relation_rows_;                 // Of the piece at hand.
  std::vector<bool> takes_;                                 // By table: whether it takes the piece at hand.
  std::shared_ptr<const process::LookupVersions> lookups_;  // All of the piece is joined with the same.
  std::vector<std::vector<int>> table_lookups_;             // By table, see Dataflow::LookupsOf().
  std::vector<model::DeadLetter> letters_;
  std::int64_t letter_bytes_ = 0;
  MemoryShare letter_memory_;
  bool is_broken_ = false;    // A fetch was processed in part.
  std::optional<Hold> hold_;  // Of the fetch at hand.
};

}  // namespace millrace::pipeline
