#include "pipeline/relation_reader.h"

#include <algorithm>

#include "ingest/writer_schemas.h"
#include "pipeline/places.h"
#include "pipeline/shard.h"

namespace millrace::pipeline {

Result<std::unique_ptr<RelationReader>> RelationReader::Make(std::shared_ptr<const Plan> plan, int relation) {
  auto reader = std::unique_ptr<RelationReader>(new RelationReader(std::move(plan), relation));
  ASSIGN_OR_RETURN(reader->decoder_, ingest::EventDecoder::Make(reader->input().decode));
  const auto& relations = reader->plan_->relations;
  if (relations[relation].parent < 0) return reader;
  process::EvaluatorSessions sessions;
  ASSIGN_OR_RETURN(const auto session, sessions.ForPlanning());
  bool joins = false;
  for (int r = relation; relations[r].parent >= 0; r = relations[r].parent) {
    const auto& parent = relations[relations[r].parent];
    ASSIGN_OR_RETURN(auto transform,
                     process::Transform::Make(*session, relations[r].name, relations[r].sql, parent.name, parent.schema,
                                              reader->plan_->lookups, &sessions));
    joins = joins || !relations[r].lookups.empty();
    reader->steps_.push_back({"transform:" + relations[r].name, std::move(transform)});
  }
  if (joins) {
    ASSIGN_OR_RETURN(const auto lookups, LoadLookups(*reader->plan_, {}));
    reader->lookups_ = lookups->current();
  }
  std::reverse(reader->steps_.begin(), reader->steps_.end());
  return reader;
}

Result<ingest::Decoded> RelationReader::Decode(const model::FetchedRecords& records, std::size_t first) {
  const auto& schemas = input().decode.writer_schemas;
  if (schemas == nullptr) return decoder_->Decode(records, first);
  for (;;) {
    const std::uint64_t answers = schemas->answers();
    auto decoded = decoder_->Decode(records, first);
    if (decoded.ok() || KindOf(decoded.status()) != ErrorKind::kTransient) return decoded;
    if (!ingest::AwaitOtherAnswers(*schemas, answers, ingest::kSchemaPatience)) return decoded;
  }
}

Result<RelationReader::Made> RelationReader::Read(const model::FetchedRecords& records, std::size_t first) {
  ASSIGN_OR_RETURN(auto decoded, Decode(records, first));
  Made made{.rows = std::move(decoded.rows),
            .letters = std::move(decoded.dead_letters),
            .filtered = 0,
            .tombstones = decoded.tombstones,
            .further = decoded.further,
            .num_records = decoded.num_records};
  static const process::LookupVersions kNone;
  for (const auto& step : steps_) {
    ASSIGN_OR_RETURN(auto transformed, step.transform->Apply(made.rows, lookups_ == nullptr ? kNone : *lookups_));
    const Places places(*made.rows, model::kOffsetColumn, model::kIndexColumn);
    for (const auto& failed : transformed.failed) {
      made.letters.push_back(
          decoder_->LetterOf(records.source, places.At(failed.row), step.stage, "transform_error", failed.message));
    }
    made.filtered += transformed.filtered;
    made.rows = std::move(transformed.rows);
  }
  return made;
}

}  // namespace millrace::pipeline
