#include "registry/registry_client.h"

#include <arrow/util/base64.h>
#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <set>
#include <utility>

#include "base/percent_coding.h"
#include "ingest/decode_spec.h"
#include "registry/registry_answer_internal.h"

namespace millrace::registry {
namespace {

namespace json = boost::json;

// A schema is text in JSON here, where quotes and line ends take two bytes.
constexpr std::size_t kReplyBytesMax = 3 * ingest::kMaxSchemaBytes;
constexpr int kHttpOk = 200;
constexpr int kHttpNotFound = 404;
constexpr int kHttpConflict = 409;
constexpr int kHttpUnprocessable = 422;
// 40401 subject, 40402 version, 40403 schema not found: so says the registry itself, and neither a proxy nor another
// path of its server.
constexpr std::int64_t kNotFoundCodes = 404;

http::ClientOptions OptionsOf(const RegistrySpec& spec) {
  return {.timeouts = {.whole = std::chrono::seconds(30)},
          .ca_file = spec.ca_file,
          .certificate_file = spec.certificate_file,
          .key_file = spec.key_file,
          .proxy = spec.proxy,
          .reply_bytes_max = kReplyBytesMax};
}

// A subject within a URL's path, where it may hold slashes.
std::string PathSegment(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain) {
      encoded += c;
    } else {
      AppendPercentEncoded(c, encoded);
    }
  }
  return encoded;
}

}  // namespace

RegistryClient::RegistryClient(const RegistrySpec& spec) : urls_(spec.urls), http_(OptionsOf(spec)) {
  headers_.emplace_back("Accept", "application/vnd.schemaregistry.v1+json, application/json");
  if (!spec.bearer.empty()) {
    headers_.emplace_back("Authorization", "Bearer " + spec.bearer);
  } else if (!spec.username.empty()) {
    headers_.emplace_back("Authorization", "Basic " + arrow::util::base64_encode(spec.username + ":" + spec.password));
  }
}

Result<std::string> RegistryClient::AskOne(const std::string& url, const Question& question) {
  http::ClientReply reply;
  http::ClientError error;
  const bool is_post = !question.body.empty();
  auto headers = headers_;
  if (is_post) headers.emplace_back("Content-Type", "application/vnd.schemaregistry.v1+json");
  const http::ClientRequest request{
      .method = is_post ? "POST" : "GET", .url = url + question.path, .headers = headers, .body = question.body};
  if (!http_.Send(request, reply, error)) {
    if (error.failure == http::ClientFailure::kCancelled) {
      return Cancelled("asking {} for {} was cancelled", url, question.what);
    }
    if (error.failure == http::ClientFailure::kTooLarge) {
      return InvalidInput("{} in the registry {} is too large: {}", question.what, url, error.message);
    }
    return Transient("{}", error.message);
  }
  if (reply.status == kHttpOk) return std::move(reply.body);
  const Problem problem = ParseProblem(reply.body);
  if (reply.status == kHttpNotFound && problem.code && *problem.code / 100 == kNotFoundCodes) {
    return NotFound("the registry {} has no {}: {}", url, question.what, problem.message);
  }
  if (is_post && problem.code && (reply.status == kHttpConflict || reply.status == kHttpUnprocessable)) {
    return InvalidInput("the registry {} does not take {}: {}", url, question.what, problem.message);
  }
  return Transient("it answered {}: {}", reply.status, problem.message);
}

Status RegistryClient::Ping() {
  Status failure;
  for (const auto& url : urls_) {
    const auto body = AskOne(url, {.path = "/schemas/types", .what = "the kinds of schemas"});
    if (body.ok() && body->starts_with('[')) return Status::OK();
    failure = body.ok() ? Transient("{} answers, but not as a schema registry", url)
                        : WithContext(MakeStatus(ErrorKind::kTransient, body.status().message()), "{}", url);
  }
  return failure;
}

Result<std::string> RegistryClient::AskAll(const Question& question) {
  const std::size_t first = current_;
  Status failure;
  for (std::size_t i = 0; i < urls_.size(); ++i) {
    const std::size_t one = (first + i) % urls_.size();
    auto answer = AskOne(urls_[one], question);
    // An answer that is none, a proxy's page, is as good as silence.
    if (answer.ok()) {
      const Status sound = question.body.empty() ? ParseAnswer(*answer).status() : ParseRegistered(*answer).status();
      if (!sound.ok()) answer = sound;
    }
    if (answer.ok() || KindOf(answer.status()) != ErrorKind::kTransient) {
      current_ = one;
      return answer;
    }
    failure = WithContext(answer.status(), "{} cannot be had from the schema registry {}", question.what, urls_[one]);
  }
  return failure;
}

Result<Answer> RegistryClient::Ask(const std::string& path, const std::string& what) {
  ASSIGN_OR_RETURN(const auto body, AskAll({.path = path, .what = what}));
  return ParseAnswer(body);
}

Result<ingest::WriterSchema> RegistryClient::WithReferences(Answer answer, const std::string& what) {
  const auto language = LanguageOf(answer.type);
  if (!language) return InvalidInput("{} is of the type '{}', which is not known", what, answer.type);
  ingest::WriterSchema schema{.language = *language, .text = std::move(answer.schema)};
  std::size_t bytes = schema.text.size();
  // Depth first: what is referred to stands before what refers to it.
  struct Level {
    ingest::SchemaReference self;  // Of all levels but the first.
    std::vector<Answer::Reference> references;
    std::size_t next = 0;
  };
  std::set<std::string> seen;
  std::vector<Level> stack;
  stack.push_back({.references = std::move(answer.references)});
  while (!stack.empty()) {
    if (bytes > ingest::kMaxSchemaBytes) {
      return InvalidInput("{} has, with what it refers to, more than {} bytes", what, ingest::kMaxSchemaBytes);
    }
    Level& level = stack.back();
    if (level.next == level.references.size()) {
      if (stack.size() > 1) schema.references.push_back(std::move(level.self));
      stack.pop_back();
      continue;
    }
    const Answer::Reference reference = level.references[level.next++];
    if (!seen.insert(reference.name).second) continue;
    if (seen.size() > kMaxReferences) return InvalidInput("{} refers to more than {} others", what, kMaxReferences);
    const std::string of = fmt::format("version {} of the subject {}", reference.version, reference.subject);
    auto got = Ask(fmt::format("/subjects/{}/versions/{}", PathSegment(reference.subject), reference.version), of);
    if (!got.ok() && KindOf(got.status()) == ErrorKind::kNotFound) {
      return InvalidInput("{} refers to '{}': {}", what, reference.name, got.status().message());
    }
    RETURN_NOT_OK(got.status());
    bytes += got->schema.size();
    stack.push_back({.self = {reference.name, std::move(got->schema)}, .references = std::move(got->references)});
  }
  return schema;
}

Result<ingest::WriterSchema> RegistryClient::SchemaOfId(std::uint32_t id) {
  const std::string what = fmt::format("schema id {}", id);
  ASSIGN_OR_RETURN(auto answer, Ask(fmt::format("/schemas/ids/{}", id), what));
  return WithReferences(std::move(answer), what);
}

Result<SubjectVersion> RegistryClient::Latest(const std::string& subject) {
  const std::string what = "subject " + subject;
  ASSIGN_OR_RETURN(auto answer, Ask(fmt::format("/subjects/{}/versions/latest", PathSegment(subject)), what));
  SubjectVersion latest{
      .subject = subject, .version = static_cast<int>(answer.version), .id = static_cast<std::uint32_t>(answer.id)};
  ASSIGN_OR_RETURN(latest.schema, WithReferences(std::move(answer), what));
  return latest;
}

Result<std::uint32_t> RegistryClient::Register(const std::string& subject, ingest::SchemaLanguage language,
                                               const std::string& text) {
  const json::object document{{"schemaType", TypeOf(language)}, {"schema", text}};
  ASSIGN_OR_RETURN(const auto body, AskAll({.path = fmt::format("/subjects/{}/versions", PathSegment(subject)),
                                            .what = "a schema for the subject " + subject,
                                            .body = json::serialize(document)}));
  return ParseRegistered(body);
}

}  // namespace millrace::registry
