#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "base/version.h"
#include "command_tree.h"
#include "commands.h"

namespace millrace::app {
namespace {

/// As text of roff: a backslash, a hyphen and a line that begins like a request would be read as something else.
std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else if (c == '\n') {
      escaped += ' ';
    } else {
      escaped += c;
    }
  }
  if (!escaped.empty() && (escaped[0] == '.' || escaped[0] == '\'')) escaped.insert(0, "\\&");
  return escaped;
}

std::string Bold(const std::string& text) { return "\\fB" + Escaped(text) + "\\fR"; }
std::string Italic(const std::string& text) { return "\\fI" + Escaped(text) + "\\fR"; }

std::string PlaceholderOf(const CommandValue& value) {
  if (value.choices.empty()) return Italic(value.placeholder);
  return Escaped(fmt::format("{}", fmt::join(value.choices, "|")));
}

std::string Synopsis(const Command& command) {
  std::string text = Bold(command.path);
  if (!command.subcommands.empty()) text += " " + Italic("COMMAND");
  for (const auto& option : command.options) {
    if (option.required) text += fmt::format(" {} {}", Bold(option.flags.front()), PlaceholderOf(option));
  }
  if (!command.options.empty()) text += " [" + Italic("OPTIONS") + "]";
  for (const auto& value : command.positionals) {
    const std::string name = Italic(value.placeholder) + (value.repeated ? "..." : "");
    text += value.required ? " " + name : " [" + name + "]";
  }
  return text;
}

std::string Entry(const CommandValue& value) {
  std::vector<std::string> names;
  for (const auto& flag : value.flags) names.push_back(Bold(flag));
  std::string text = ".TP\n" + fmt::format("{}", fmt::join(names, ", "));
  if (value.flags.empty()) {
    text += Italic(value.placeholder);
  } else if (!value.placeholder.empty()) {
    text += " " + PlaceholderOf(value);
  }
  text += "\n" + Escaped(value.description) + "\n";
  if (!value.default_value.empty()) text += fmt::format("(default: {})\n", Escaped(value.default_value));
  if (!value.environment.empty()) text += fmt::format("(environment: {})\n", Escaped(value.environment));
  return text;
}

}  // namespace

std::string ManualPage(const Command& root) {
  std::string text = fmt::format(".TH MILLRACE 1 \"\" \"millrace {}\" \"User Commands\"\n", Escaped(kVersion));
  text += ".SH NAME\nmillrace \\- events from a durable log into Delta Lake tables, exactly once\n";
  text += ".SH SYNOPSIS\n" + Synopsis(root) + "\n";
  text += ".SH DESCRIPTION\n" + Escaped(root.description) + "\n";
  text += ".PP\nData goes to standard output, messages to standard error. Every command has " + Bold("--help") + ".\n";
  text += ".SH COMMANDS\n";
  std::map<std::string, std::string> environment;
  for (const Command* const command : AllCommands(root)) {
    if (!command->subcommands.empty()) continue;
    text += ".SS " + Synopsis(*command) + "\n" + Escaped(command->description) + "\n";
    for (const auto& value : command->positionals) {
      if (!value.description.empty()) text += Entry(value);
    }
    for (const auto& option : command->options) {
      if (option.flags.back() != "--help") text += Entry(option);
    }
    for (const auto* values : {&command->positionals, &command->options}) {
      for (const auto& value : *values) {
        if (value.environment.empty()) continue;
        std::string& of = environment[value.environment];
        const std::string name = value.flags.empty() ? value.placeholder : value.flags.back();
        of += fmt::format("{}{} {}", of.empty() ? "" : ", ", command->path, name);
      }
    }
  }
  text += ".SH \"EXIT STATUS\"\n";
  for (const auto& [code, meaning] :
       {std::pair{kOk, "Success."},
        {kFailed, "It failed; standard error says why."},
        {kUsage, "The command line is wrong."},
        {kBadConfiguration, "The pipeline's file is wrong; every finding has its line."}}) {
    text += fmt::format(".TP\n\\fB{}\\fR\n{}\n", code, Escaped(meaning));
  }
  text += ".SH ENVIRONMENT\n";
  for (const auto& [name, options] : environment) {
    text += fmt::format(".TP\n{}\nInstead of {}.\n", Bold(name), Escaped(options));
  }
  text += ".TP\n" + Bold("NO_COLOR") + "\nNo colours on a terminal.\n";
  text += ".TP\n" + Bold("AWS_ACCESS_KEY_ID") + ", " + Bold("AWS_PROFILE") + ", " + Bold("AWS_ENDPOINT_URL") +
          ", ...\nOf lakes on S3, as for the AWS tools.\n";
  return text;
}

}  // namespace millrace::app
