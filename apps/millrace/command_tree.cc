#include "command_tree.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <sstream>

namespace millrace::app {
namespace {

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

bool HasCapital(const std::string& text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return std::isupper(c) != 0; });
}

/// CLI11 shows them as "TEXT:{a,b}"; some of our flags as "a|b", where capitals stand for what is no word itself.
std::vector<std::string> ChoicesOf(const std::string& type) {
  const auto open = type.find(":{");
  if (open != std::string::npos && type.back() == '}') return Split(type.substr(open + 2, type.size() - open - 3), ',');
  if (type.find('|') != std::string::npos && !HasCapital(type)) return Split(type, '|');
  return {};
}

CommandValue ReadValue(const CLI::Option& option) {
  CommandValue value;
  const std::string type = option.get_type_name();
  if (option.get_items_expected_max() > 0) {
    value.choices = ChoicesOf(type);
    value.placeholder = value.choices.empty() ? type.substr(0, type.find(':')) : "WORD";
    value.default_value = option.get_default_str();
  }
  value.environment = option.get_envname();
  value.description = option.get_description();
  value.required = option.get_required();
  value.repeated = option.get_items_expected_max() > 1;
  for (const auto& name : option.get_snames()) value.flags.push_back("-" + name);
  for (const auto& name : option.get_lnames()) value.flags.push_back("--" + name);
  if (option.get_positional()) value.placeholder = option.get_single_name();
  return value;
}

Command ReadBelow(const CLI::App& app, const std::string& parent) {
  Command command;
  command.name = app.get_name();
  command.path = parent.empty() ? command.name : parent + " " + command.name;
  command.description = app.get_description();
  for (const CLI::Option* const option : app.get_options()) {
    if (option->get_group().empty()) continue;
    (option->get_positional() ? command.positionals : command.options).push_back(ReadValue(*option));
  }
  for (const CLI::App* const sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!sub->get_group().empty()) command.subcommands.push_back(ReadBelow(*sub, command.path));
  }
  return command;
}

void Append(const Command& command, std::vector<const Command*>& all) {
  all.push_back(&command);
  for (const Command& sub : command.subcommands) Append(sub, all);
}

}  // namespace

Command ReadCommandTree(const CLI::App& app) { return ReadBelow(app, ""); }

std::vector<const Command*> AllCommands(const Command& command) {
  std::vector<const Command*> all;
  Append(command, all);
  return all;
}

}  // namespace millrace::app
