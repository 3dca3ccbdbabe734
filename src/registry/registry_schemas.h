/// The schemas of a registry as decoders ask for them: what was asked for once is remembered, and nobody waits long.
///
/// A thread of its own asks the registry. Find() waits for its answer a moment, as long as answers come quickly;
/// otherwise the decoder's partition waits, and not the others of its thread. Failures are tried again with a back-off,
/// for as long as it takes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/status.h"
#include "ingest/writer_schemas.h"
#include "registry/registry_client.h"

namespace millrace::registry {

using SteadyTime = std::chrono::steady_clock::time_point;

class RegistrySchemas final : public ingest::WriterSchemas {
 public:
  struct Options {
    /// Find() waits so long for an answer, and for so many of them a second: strangers with made-up ids must not take
    /// the threads that others are decoded on.
    std::chrono::milliseconds wait_max{200};
    int waits_per_second_max = 20;
    BackoffRange pause{.min = std::chrono::milliseconds(200), .max = std::chrono::seconds(5)};
    /// A follower may know an id a little later than the producer that made it: the first "no" is asked again.
    std::chrono::milliseconds ask_again{500};
    /// After so long "no", and what cannot be used, are asked for again.
    std::chrono::milliseconds no_kept{60'000};
    // What is remembered; beyond it the ones that were not wanted for longest are forgotten.
    std::size_t schemas_max = 10'000;
    std::size_t bytes_max = std::size_t{64} << 20;
    std::size_t wanted_max = 10'000;  ///< Ids that are asked for at once; Find() of more is kTransient.
  };

  /// Asks nothing yet. `clock` outlives it.
  explicit RegistrySchemas(RegistrySpec spec);
  RegistrySchemas(RegistrySpec spec, Options options, const Clock& clock = SystemClock());
  /// Within about a second, whatever the registry does.
  ~RegistrySchemas() override;

  Result<std::shared_ptr<const ingest::WriterSchema>> Find(std::uint64_t id) override;
  std::uint64_t answers() const override;

  /// The newest version of a subject. Blocks; a registry that does not answer is tried again until `patience` is over.
  /// Errors as RegistryClient::Latest().
  Result<SubjectVersion> Latest(const std::string& subject, std::chrono::milliseconds patience);

  std::optional<State> state() const override;
  const RegistrySpec& spec() const { return spec_; }

 private:
  struct Known {
    std::shared_ptr<const ingest::WriterSchema> schema;  // Null: there is none, or
    Status unusable;                                     // not OK.
    std::size_t bytes = 0;
    std::uint64_t last_used = 0;
    std::optional<SteadyTime> until;  // Only so long.
  };
  struct Wanted {
    SteadyTime due;
    int failures = 0;  // In a row.
    bool was_denied = false;
  };

  void Run(const std::stop_token& stop);
  // All with mutex_ held.
  Known* FindKnown(std::uint64_t id);
  bool MayWait();
  void Take(std::uint64_t id, Result<ingest::WriterSchema> answer);
  void Remember(std::uint64_t id, Known known);
  void NoteOutcome(const Status& failure);

  // Constant after construction.
  const RegistrySpec spec_;
  const Options options_;
  const Clock& clock_;

  RegistryClient client_;  // Any thread.

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::uint64_t, Known> known_;  // By id.
  std::map<std::uint64_t, Wanted> wanted_;
  std::size_t bytes_ = 0;  // Of known_.
  std::uint64_t uses_ = 0;
  std::uint64_t answers_ = 0;
  bool is_slow_ = false;  // The last answer did not come in time, or not at all.
  SteadyTime window_{};   // The second that waits_ is of.
  int waits_ = 0;
  State state_;
  std::jthread thread_;  // Begun by the first Find(); last: it uses all the others.
};

}  // namespace millrace::registry
