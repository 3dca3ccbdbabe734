/// Questions to a schema registry in Confluent's REST protocol, as Confluent, Apicurio (`/apis/ccompat/v7`), Karapace
/// and Redpanda answer them. Nothing is remembered and nothing tried again here; see registry_schemas.h.
/// Spec: Confluent's Schema Registry API reference, `/schemas/ids`, `/subjects/…/versions`.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "http/client.h"
#include "ingest/writer_schemas.h"
#include "registry/registry_spec.h"

namespace millrace::registry {

/// References of a schema, direct and indirect ones together.
inline constexpr std::size_t kMaxReferences = 1000;

struct Answer;

/// One version of a subject.
struct SubjectVersion {
  std::string subject;
  int version = 0;
  std::uint32_t id = 0;
  ingest::WriterSchema schema;
};

/// Any thread; each call blocks for as many requests as the schema has references and one more, of which each takes
/// 30 s at most.
///
/// kTransient: no answer of a registry came, which a refused login and a proxy's page are too; the message says from
/// where and why. kNotFound: the registry says that there is no such thing. kInvalidInput: there is, and it cannot be
/// used: it is too large, in a language that nobody knows, or refers to what is not there. kCancelled: Interrupt().
class RegistryClient {
 public:
  explicit RegistryClient(const RegistrySpec& spec);

  /// Whether it is a registry that answers, and takes our login. kTransient: no.
  Status Ping();
  Result<ingest::WriterSchema> SchemaOfId(std::uint32_t id);
  /// The newest.
  Result<SubjectVersion> Latest(const std::string& subject);

  /// Makes the text, which refers to no other, the newest version of the subject, unless it has it already, and says
  /// its id. kInvalidInput also: the registry does not take it, since it is none or does not fit the versions before.
  Result<std::uint32_t> Register(const std::string& subject, ingest::SchemaLanguage language, const std::string& text);

  /// Ends calls under way within about a second and refuses later ones.
  void Interrupt() { http_.Interrupt(); }
  bool interrupted() const { return http_.interrupted(); }

 private:
  // `path` such as "/schemas/ids/7"; `what`: the same in words, for messages. A request with a body is a POST.
  struct Question {
    std::string path;
    std::string what;
    std::string body{};
  };
  Result<Answer> Ask(const std::string& path, const std::string& what);
  // The body of a registry's answer.
  Result<std::string> AskAll(const Question& question);
  Result<std::string> AskOne(const std::string& url, const Question& question);
  Result<ingest::WriterSchema> WithReferences(Answer answer, const std::string& what);

  const std::vector<std::string> urls_;
  std::vector<std::pair<std::string, std::string>> headers_;  // Constant after construction.
  std::atomic<std::size_t> current_{0};                       // Of urls_: the one that answered last.
  http::Client http_;
};

}  // namespace millrace::registry
