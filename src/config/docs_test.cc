// docs/configuration.md, examples/ and the editors' schema say the same as the loader.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "config/config_internal.h"
#include "ingest/formats.h"

namespace millrace::config {
namespace {

using ::testing::IsEmpty;

std::string ReadSourceFile(const std::string& path) {
  std::ifstream in(std::string(MILLRACE_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(in.is_open()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> Messages(const std::vector<Finding>& findings) {
  std::vector<std::string> messages;
  for (const auto& finding : findings) messages.push_back(ToString(finding));
  return messages;
}

struct Snippet {
  int line = 0;  ///< Of its first line in the document.
  std::string text;
};

std::vector<Snippet> YamlSnippets(const std::string& markdown) {
  std::vector<Snippet> snippets;
  bool inside = false;
  int number = 0;
  std::size_t start = 0;
  while (start < markdown.size()) {
    const auto end = markdown.find('\n', start);
    const auto line = markdown.substr(start, end - start);
    ++number;
    if (inside && line == "```") {
      inside = false;
    } else if (inside) {
      snippets.back().text += line + "\n";
    } else if (line == "```yaml") {
      inside = true;
      snippets.push_back({number + 1, ""});
    }
    if (end == std::string::npos) break;
    start = end + 1;
  }
  return snippets;
}

/// Top-level key -> its lines, in order of the keys.
std::map<std::string, std::string> TopLevelParts(const std::string& yaml) {
  std::map<std::string, std::string> parts;
  std::string key;
  std::size_t start = 0;
  while (start < yaml.size()) {
    const auto end = std::min(yaml.find('\n', start), yaml.size());
    const auto line = yaml.substr(start, end - start);
    if (!line.empty() && line[0] != ' ' && line[0] != '#') key = line.substr(0, line.find(':'));
    if (!key.empty()) parts[key] += line + "\n";
    start = end + 1;
  }
  return parts;
}

/// A snippet shows some top-level keys; the rest comes from the first, which is a whole pipeline.
std::string Completed(const std::string& whole, const std::string& snippet) {
  auto parts = TopLevelParts(whole);
  const auto shown = TopLevelParts(snippet);
  if (shown.contains("inputs")) parts.erase("decode");
  for (const auto& [key, text] : shown) parts[key] = text;
  std::string text;
  for (const auto& [key, part] : parts) text += part;
  return text;
}

TEST(ConfigDocs, EverySnippetOfTheReferenceLoads) {
  std::filesystem::current_path(MILLRACE_SOURCE_DIR);  // For the files that snippets name.
  const auto snippets = YamlSnippets(ReadSourceFile("docs/configuration.md"));
  ASSERT_GE(snippets.size(), 10u);
  for (const auto& snippet : snippets) {
    SCOPED_TRACE("docs/configuration.md:" + std::to_string(snippet.line));
    EXPECT_THAT(Messages(LoadConfigText(Completed(snippets[0].text, snippet.text), "snippet").findings), IsEmpty());
  }
}

TEST(ConfigDocs, TheExamplesLoad) {
  std::filesystem::current_path(MILLRACE_SOURCE_DIR);
  setenv("BROKERS", "localhost:9092", 1);
  setenv("TOKEN", "secret", 1);
  for (const char* name :
       {"examples/clicks.yaml", "examples/devices.yaml", "examples/fleet.yaml", "examples/kafka.yaml",
        "examples/tickers.yaml", "examples/vehicles.yaml", "examples/machines.yaml", "bench/clicks.yaml"}) {
    SCOPED_TRACE(name);
    EXPECT_THAT(Messages(LoadConfigFile(std::string(MILLRACE_SOURCE_DIR) + "/" + name).findings), IsEmpty());
  }
  unsetenv("BROKERS");
  unsetenv("TOKEN");
}

/// The keys that a JSON Schema knows, written as the loader's: "tables[].commit.interval".
class SchemaKeys {
 public:
  explicit SchemaKeys(const ConfigNode& root) : root_(root) { Walk(root, ""); }
  const std::set<std::string>& keys() const { return keys_; }

 private:
  void Walk(const ConfigNode& schema, const std::string& path) {
    if (const auto* reference = schema.Find("$ref")) {
      ASSERT_EQ(reference->text.substr(0, 2), "#/");
      const auto* definition = &root_;
      std::stringstream keys(reference->text.substr(2));
      for (std::string key; std::getline(keys, key, '/');) {
        definition = definition->Find(key);
        ASSERT_NE(definition, nullptr) << reference->text;
      }
      Walk(*definition, path);
    }
    for (const char* choice : {"anyOf", "oneOf"}) {
      if (const auto* options = schema.Find(choice)) {
        for (const auto& option : options->items) Walk(option, path);
      }
    }
    if (const auto* items = schema.Find("items")) Walk(*items, path + "[]");
    if (const auto* others = schema.Find("additionalProperties"); others != nullptr && !others->entries.empty()) {
      Walk(*others, path + ".*");
    }
    if (const auto* properties = schema.Find("properties")) {
      for (const auto& entry : properties->entries) {
        const auto key = path.empty() ? entry.key : path + "." + entry.key;
        keys_.insert(key);
        Walk(entry.value, key);
      }
    }
  }

  const ConfigNode& root_;
  std::set<std::string> keys_;
};

TEST(ConfigDocs, TheSchemaKnowsTheKeysThatTheLoaderKnows) {
  std::set<std::string> known;
  LoadTraced(R"(source: {kafka: {bootstrap.servers: a}, embedded: {path: a}, start: {timestamp: x}}
decode: {columns: {a: {type: string}}}
lookups: [{from: {csv: a}, columns: {a: {type: string}}}, {from: {postgres: {}}}]
transforms: [{}]
tables: [{}]
aggregates: [{}]
serve: {auth: {tokens: [{}]}}
gateway: {mqtt: {subscribe: [{}], accept: [{}]}}
)",
             "p.yaml", {}, known);
  // `kafka` and `embedded` exclude each other, so one document cannot ask for the keys of both.
  std::set<std::string> known_embedded;
  LoadTraced("source: {embedded: {path: a}}\n", "p.yaml", {}, known_embedded);
  known.merge(known_embedded);
  // So do the short form and `inputs`.
  std::set<std::string> known_inputs;
  LoadTraced("inputs: [{decode: {columns: {a: {type: string}}}}]\n", "p.yaml", {}, known_inputs);
  known.merge(known_inputs);

  Findings findings;
  const auto schema = ParseConfigTree(ReadSourceFile("share/millrace/pipeline.schema.json"), "schema", findings);
  ASSERT_THAT(Messages(findings.Sorted()), IsEmpty());
  EXPECT_EQ(SchemaKeys(schema).keys(), known);

  // The reference names each of them too, in full or, below a section's own heading, as the columns of a list do.
  const auto reference = ReadSourceFile("docs/configuration.md");
  for (auto key : known) {
    // What an input has of the top level's sections is described there.
    if (constexpr std::string_view kInput = "inputs[].";
        key.starts_with(kInput) && key.find('.', kInput.size()) != std::string::npos) {
      key.erase(0, kInput.size());
      EXPECT_TRUE(known.contains(key)) << key;
    }
    if (const auto star = key.find(".*"); star != std::string::npos) key.replace(star, 2, ".NAME");
    const bool is_section = std::any_of(known.begin(), known.end(), [&](const auto& other) {
      return other.starts_with(key + ".") || other.starts_with(key + "[]");
    });
    const bool there = reference.find("`" + key + "`") != std::string::npos ||
                       (is_section && reference.find(key) != std::string::npos);
    EXPECT_TRUE(there) << key << " is not in docs/configuration.md";
  }
}

TEST(ConfigDocs, EveryFormatIsInTheSchemaAndTheReference) {
  Findings findings;
  const auto schema = ParseConfigTree(ReadSourceFile("share/millrace/pipeline.schema.json"), "schema", findings);
  const auto* node = &schema;
  for (const char* key : {"properties", "decode", "properties", "format", "anyOf"}) {
    node = node->Find(key);
    ASSERT_NE(node, nullptr) << key;
  }
  std::set<std::string> in_schema;
  for (const auto& name : node->items.at(0).Find("enum")->items) in_schema.insert(name.text);

  const auto reference = ReadSourceFile("docs/configuration.md");
  const auto row = reference.find("| `decode.format` | ") + std::string("| `decode.format` | ").size();
  const auto in_reference = reference.substr(row, reference.find(" |", row) - row);

  std::set<std::string> known;
  for (const auto& format : ingest::Formats()) {
    known.emplace(format.name);
    EXPECT_NE(in_reference.find(fmt::format("`{}`", format.name)), std::string::npos) << format.name;
  }
  EXPECT_EQ(in_schema, known);
}

}  // namespace
}  // namespace millrace::config
