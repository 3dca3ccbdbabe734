// source.schema_registry: of pipeline.yaml, and the schemas that inputs have from it.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "config/config_internal.h"
#include "config/topic_pattern.h"
#include "registry/registry_schemas.h"

namespace millrace::config {
namespace {

// A lost connection is no finding.
constexpr std::chrono::seconds kPatience{2};

void ReadUrls(Section& section, std::vector<std::string>& urls) {
  const auto* url = section.Require("url");
  const auto nodes = section.TextList("url", urls);
  if (url != nullptr && url->kind == ConfigNode::Kind::kSequence && url->items.empty()) {
    section.AddFinding(url->place, section.path() + ".url names no URL");
  }
  for (std::size_t i = 0; i < urls.size(); ++i) {
    if (const auto problem = registry::ProblemOfUrl(urls[i])) {
      section.AddFinding(nodes[i]->place, fmt::format("{}.url {}", section.path(), *problem));
    }
    while (urls[i].ends_with('/')) urls[i].pop_back();
  }
}

void ReadLogin(Section& section, registry::RegistrySpec& spec) {
  auto basic = section.Child("basic_auth");
  basic.RequireText("username", spec.username);
  basic.Require("password");
  basic.TextOrNothing("password", spec.password);
  basic.Finish();
  const auto* bearer = section.Text("bearer", spec.bearer);
  if (bearer != nullptr && section.Has("basic_auth")) {
    section.AddFinding(bearer->place, section.path() + ": give one of 'basic_auth' and 'bearer', not both");
  }
}

void ReadFiles(Section& section, registry::RegistrySpec& spec) {
  struct File {
    const char* key;
    std::string& path;
  };
  const std::array<File, 3> files = {
      {{"ca_file", spec.ca_file}, {"certificate_file", spec.certificate_file}, {"key_file", spec.key_file}}};
  for (const auto& [key, path] : files) {
    const auto* node = section.Text(key, path);
    if (node == nullptr || !section.context().files || access(path.c_str(), R_OK) == 0) continue;
    section.AddFinding(node->place, fmt::format("{}.{}: cannot read '{}': {}", section.path(), key, path,
                                                std::generic_category().message(errno)));
  }
  if (section.Has("certificate_file") != section.Has("key_file")) {
    section.AddFinding(section.place(),
                       section.path() + ": 'certificate_file' and 'key_file' belong together, and one is missing");
  }
}

ingest::SchemaLanguage LanguageOf(const ingest::Format& format) {
  if (format.name == "avro") return ingest::SchemaLanguage::kAvro;
  return format.name == "protobuf" ? ingest::SchemaLanguage::kProtobuf : ingest::SchemaLanguage::kJson;
}

class StandInIds final : public ingest::WriterSchemas {
 public:
  explicit StandInIds(const std::vector<StandInSchema>& schemas) {
    for (const auto& one : schemas) schemas_[one.id] = std::make_shared<const ingest::WriterSchema>(one.schema);
  }
  Result<std::shared_ptr<const ingest::WriterSchema>> Find(std::uint64_t id) override {
    const auto found = schemas_.find(id);
    return found == schemas_.end() ? nullptr : found->second;
  }
  std::uint64_t answers() const override { return 0; }

 private:
  std::map<std::uint64_t, std::shared_ptr<const ingest::WriterSchema>> schemas_;
};

// The newest schema of a subject, and where those of ids are.
struct Registered {
  std::string version;  // Empty: it is the only one.
  ingest::WriterSchema schema;
  std::shared_ptr<ingest::WriterSchemas> by_id;
};

// Nullopt: nobody is to be asked.
Result<std::optional<Registered>> Newest(const ReadContext& context, const std::string& subject) {
  if (context.schemas != nullptr) {
    const auto found = std::find_if(context.schemas->begin(), context.schemas->end(),
                                    [&](const auto& one) { return one.subject == subject; });
    if (found == context.schemas->end()) {
      return NotFound("no schema takes the place of the subject {}; the test file's 'schemas' names one: {{{}: FILE}}",
                      subject, subject);
    }
    return Registered{"", found->schema, std::make_shared<StandInIds>(*context.schemas)};
  }
  if (context.registry == nullptr) return std::nullopt;
  ASSIGN_OR_RETURN(auto latest, context.registry->Latest(subject, kPatience));
  return Registered{fmt::format(", version {}", latest.version), std::move(latest.schema), context.registry};
}

std::optional<std::string> SubjectOf(const InputConfig& input) {
  for (const auto& topic : input.topics) {
    if (!TopicPattern::IsPattern(topic)) return topic + "-value";
  }
  return std::nullopt;
}

}  // namespace

void ReadRegistry(Section& root, bool may_ask, PipelineConfig& config) {
  const auto* source = root.Find("source");
  if (source == nullptr || source->kind != ConfigNode::Kind::kMap) return;
  auto section = root.Child("source").Child("schema_registry");
  const auto findings_before = section.context().findings.size();
  registry::RegistrySpec spec;
  ReadUrls(section, spec.urls);
  ReadLogin(section, spec);
  ReadFiles(section, spec);
  section.Finish();
  if (source->Find("schema_registry") == nullptr) return;
  config.source.schema_registry = spec;
  section.context().has_registry = true;
  if (may_ask && !spec.urls.empty() && section.context().findings.size() == findings_before) {
    section.context().registry = std::make_shared<registry::RegistrySchemas>(std::move(spec));
  }
}

bool ReadRegisteredSchema(Section& decode, const ConfigNode& node, const ingest::Format& format,
                          const InputConfig& input, ingest::DecodeSpec& spec) {
  const std::string path = decode.path() + ".schema";
  if (!decode.context().has_registry) {
    decode.AddFinding(node.place, path + ": there is no registry; give source.schema_registry: {url: ...}");
  }
  std::string subject;
  ingest::SchemaSpec schema{.is_registered = true};
  if (node.kind == ConfigNode::Kind::kMap) {
    auto section = decode.Child("schema");
    const auto* subject_node = section.RequireText("subject", subject);
    const auto* message = section.Text("message", schema.message);
    section.Finish();
    if (subject_node == nullptr || subject_node->unresolved) return false;
    if (message != nullptr && format.schema != ingest::SchemaUse::kMessage) {
      decode.AddFinding(message->place, fmt::format("{}.message: {} has none", path, format.name));
      return false;
    }
  } else if (const auto of_topic = SubjectOf(input)) {
    subject = *of_topic;
  } else if (!input.topics.empty()) {
    decode.AddFinding(node.place, fmt::format("{}: the topics are patterns, so the subject must be named: "
                                              "{{subject: NAME-value}}",
                                              path));
    return false;
  } else {
    return false;  // There is a finding of the topics.
  }
  if (spec.framing == ingest::Framing::kNone && !decode.Has("framing")) spec.framing = ingest::Framing::kConfluent;
  schema.file = "subject " + subject;
  auto newest = Newest(decode.context(), subject);
  if (!newest.ok()) {
    if (KindOf(newest.status()) == ErrorKind::kTransient) ++decode.context().unanswered;
    decode.AddFinding(node.place, fmt::format("{}: {}", path, newest.status().message()));
    return false;
  }
  if (*newest) {
    auto& [version, written, by_id] = **newest;
    const auto language = written.language;
    const auto wanted = LanguageOf(format);
    if (language != wanted) {
      decode.AddFinding(node.place, fmt::format("{}: the subject {} holds {}, and the format is {}", path, subject,
                                                ingest::LanguageName(language), format.name));
      return false;
    }
    schema.file += version;
    schema.bytes = std::make_shared<const std::string>(std::move(written.text));
    schema.references = std::move(written.references);
    const bool reads_by_id =
        format.schema != ingest::SchemaUse::kColumns && spec.framing == ingest::Framing::kConfluent;
    if (reads_by_id) spec.writer_schemas = std::move(by_id);
  }
  spec.schema = std::move(schema);
  return true;
}

}  // namespace millrace::config
