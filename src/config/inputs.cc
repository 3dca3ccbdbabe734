// inputs: of pipeline.yaml, or what the short form says of the only one: topics, decode, event_time, dedupe.
#include <algorithm>
#include <string>
#include <vector>

#include "config/config_internal.h"
#include "config/topic_pattern.h"

namespace millrace::config {
namespace {

void ReadEventTime(Section& owner, InputConfig& input, ConfigNodes::Input& at) {
  auto section = owner.Child("event_time");
  EventTimeConfig event_time;
  at.event_time_column = section.RequireText("column", event_time.column);
  section.Duration("watermark_delay", std::chrono::microseconds(0), event_time.watermark_delay);
  section.Duration("idle_timeout", std::chrono::milliseconds(1), event_time.idle_timeout);
  section.Duration("max_future", std::chrono::microseconds(0), event_time.max_future);
  section.Finish();
  if (owner.Find("event_time") != nullptr) input.event_time = std::move(event_time);
}

// The place of dedupe.path; nullptr: it is not given.
const ConfigNode* ReadDedupe(Section& owner, InputConfig& input, ConfigNodes::Input& at) {
  auto section = owner.Child("dedupe");
  DedupeConfig dedupe;
  const auto* by = section.Require("by");
  at.dedupe_by = section.TextList("by", dedupe.by);
  section.Duration("within", std::chrono::seconds(1), dedupe.within);
  std::string path;
  const auto* path_node = section.Text("path", path);
  if (path_node != nullptr) dedupe.path = std::move(path);
  section.Finish();
  if (by != nullptr && by->kind == ConfigNode::Kind::kSequence && by->items.empty()) {
    section.AddFinding(by->place, section.path() + ".by names no column");
  }
  if (owner.Find("dedupe") != nullptr) input.dedupe = std::move(dedupe);
  return path_node;
}

// Keys of all inputs are kept below one folder.
void CheckDedupePath(Section& section, const PipelineConfig& config, const InputConfig& input, const ConfigNode& node) {
  const auto first = config.dedupe_path();
  if (!first || first == input.dedupe->path) return;
  section.AddFinding(node.place, fmt::format("{}.dedupe.path: another input has '{}'; the keys of all inputs are kept "
                                             "below one folder",
                                             section.path(), *first));
}

}  // namespace

void RefuseBesideInputs(Section& owner, const std::string& key) {
  const auto* node = owner.Find(key);
  if (node == nullptr) return;
  owner.AddFinding(node->place, fmt::format("{}{}{} is of the only stream of a file without 'inputs'; move it into one "
                                            "of the inputs, or leave 'inputs' out",
                                            owner.path(), owner.path().empty() ? "" : ".", key));
}

void ReadTopics(Section& owner, InputConfig& input, ConfigNodes::Input& at) {
  const auto* topics = owner.Require("topics");
  if (topics == nullptr) return;
  const std::string key = owner.path() + ".topics";
  at.topics = owner.TextList("topics", input.topics);
  if (topics->kind == ConfigNode::Kind::kSequence && topics->items.empty()) {
    owner.AddFinding(topics->place, key + " names no topic");
  }
  for (std::size_t i = 0; i < at.topics.size(); ++i) {
    const auto& topic = input.topics[i];
    const auto earlier_end = input.topics.begin() + static_cast<std::ptrdiff_t>(i);
    if (std::find(input.topics.begin(), earlier_end, topic) != earlier_end) {
      owner.AddFinding(at.topics[i]->place, fmt::format("{}: '{}' is here twice", key, topic));
    }
    if (TopicPattern::IsPattern(topic)) continue;
    // Kafka's own rule.
    const bool good = topic.size() <= 249 && topic != "." && topic != ".." &&
                      topic.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
                          std::string::npos;
    if (!good) {
      owner.AddFinding(at.topics[i]->place,
                       fmt::format("{}: '{}' is not the name of a topic (letters, digits, . _ and -, at most 249); a "
                                   "regular expression begins with ^",
                                   key, topic));
    }
  }
}

void ReadOnlyInput(Section& root, PipelineConfig& config, ConfigNodes& nodes) {
  auto& input = config.inputs.front();
  auto& at = nodes.inputs.front();
  if (root.Require("decode") != nullptr) ReadDecode(root.Child("decode"), input, at);
  ReadEventTime(root, input, at);
  ReadDedupe(root, input, at);
}

void ReadInputs(Section& root, PipelineConfig& config, ConfigNodes& nodes) {
  for (const char* key : {"decode", "event_time", "dedupe"}) RefuseBesideInputs(root, key);
  config.inputs.clear();
  nodes.inputs.clear();
  for (auto& section : root.Children("inputs")) {
    InputConfig input;
    ConfigNodes::Input at;
    input.name.clear();
    at.path = section.path();
    at.name = section.RequireText("name", input.name);
    if (at.name != nullptr && !CheckName(input.name, "an input's name", false, *at.name, section)) {
      at.name = nullptr;
      input.name.clear();
    }
    ReadTopics(section, input, at);
    if (section.Require("decode") != nullptr) ReadDecode(section.Child("decode"), input, at);
    ReadEventTime(section, input, at);
    const auto* path = ReadDedupe(section, input, at);
    if (path != nullptr && input.dedupe) CheckDedupePath(section, config, input, *path);
    section.Finish();
    config.inputs.push_back(std::move(input));
    nodes.inputs.push_back(std::move(at));
  }
  if (const auto* node = root.Find("inputs");
      node != nullptr && node->kind == ConfigNode::Kind::kSequence && node->items.empty()) {
    root.AddFinding(node->place, "inputs names no input");
  }
}

}  // namespace millrace::config
