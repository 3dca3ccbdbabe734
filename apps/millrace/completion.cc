#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "command_tree.h"
#include "commands.h"

namespace millrace::app {
namespace {

/// In single quotes, which bash and zsh read alike.
std::string Quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

/// Fish knows two escapes between single quotes.
std::string FishQuoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' || c == '\\' ? std::string{'\\', c} : std::string(1, c);
  return quoted + "'";
}

/// 'millrace lake'|'millrace lake read', which are the words that lead further down.
std::string SubcommandPatterns(const Command& root, const char* separator) {
  std::vector<std::string> patterns;
  for (const Command* const command : AllCommands(root)) {
    if (command != &root) patterns.push_back(Quoted(command->path));
  }
  return fmt::format("{}", fmt::join(patterns, separator));
}

/// 'millrace run -c'|'millrace run --config'
std::string FlagPatterns(const Command& command, const CommandValue& option) {
  std::vector<std::string> patterns;
  for (const auto& flag : option.flags) patterns.push_back(Quoted(command.path + " " + flag));
  return fmt::format("{}", fmt::join(patterns, "|"));
}

/// An option's value is a word of its own, after it: for each option that has one, a case that ends in `with_choices`,
/// of which {} are the choices, or in `without`.
std::string ValueCases(const Command& root, const char* with_choices, const char* without) {
  std::string text;
  for (const Command* const command : AllCommands(root)) {
    for (const CommandValue& option : command->options) {
      if (option.placeholder.empty()) continue;
      const std::string then =
          option.choices.empty() ? without : fmt::format(fmt::runtime(with_choices), fmt::join(option.choices, " "));
      text += fmt::format("    {}) {} ;;\n", FlagPatterns(*command, option), then);
    }
  }
  return text;
}

std::vector<std::string> PositionalChoices(const Command& command) {
  std::vector<std::string> choices;
  for (const auto& value : command.positionals)
    choices.insert(choices.end(), value.choices.begin(), value.choices.end());
  return choices;
}

/// Words with what they mean, as zsh's _describe wants them.
std::string Described(const std::string& word, const std::string& description) {
  std::string text;
  for (const char c : word) text += c == ':' ? std::string("\\:") : std::string(1, c);
  return Quoted(text + ":" + description);
}

void PrintWhole(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

const CLI::App& RootOf(const CLI::App& app) { return app.get_parent() == nullptr ? app : RootOf(*app.get_parent()); }

}  // namespace

std::string BashCompletion(const Command& root) {
  std::string cases;
  for (const Command* const command : AllCommands(root)) {
    std::vector<std::string> words;
    for (const Command& sub : command->subcommands) words.push_back(sub.name);
    for (const auto& choice : PositionalChoices(*command)) words.push_back(choice);
    std::vector<std::string> flags;
    for (const auto& option : command->options) flags.insert(flags.end(), option.flags.begin(), option.flags.end());
    cases +=
        fmt::format("    {}) words={} flags={} ;;\n", Quoted(command->path),
                    Quoted(fmt::format("{}", fmt::join(words, " "))), Quoted(fmt::format("{}", fmt::join(flags, " "))));
  }
  return fmt::format(R"(# bash completion for millrace; made by `millrace completion bash`
_millrace() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} at=millrace words flags i
  COMPREPLY=()
  if [[ $word == '=' ]]; then
    word=
  elif [[ $previous == '=' ]]; then
    previous=${{COMP_WORDS[COMP_CWORD-2]}}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at ${{COMP_WORDS[i]}}" in
    {}) at+=" ${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$at $previous" in
{}  esac
  case $at in
{}  esac
  [[ $word == -* ]] && words=$flags
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}
complete -o bashdefault -o default -F _millrace millrace
)",
                     SubcommandPatterns(root, "|"),
                     ValueCases(root, "mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\"); return", "return"),
                     cases);
}

std::string ZshCompletion(const Command& root) {
  std::string cases;
  for (const Command* const command : AllCommands(root)) {
    std::vector<std::string> words;
    for (const Command& sub : command->subcommands) words.push_back(Described(sub.name, sub.description));
    for (const auto& choice : PositionalChoices(*command)) words.push_back(Quoted(choice));
    std::vector<std::string> flags;
    for (const auto& option : command->options) {
      for (const auto& flag : option.flags) flags.push_back(Described(flag, option.description));
    }
    cases += fmt::format("    {})\n      offered=({})\n      flags=({})\n      ;;\n", Quoted(command->path),
                         fmt::join(words, " "), fmt::join(flags, " "));
  }
  return fmt::format(R"(#compdef millrace
# zsh completion for millrace; made by `millrace completion zsh`
_millrace() {{
  local at=millrace i
  local -a offered flags
  for ((i = 2; i < CURRENT; i++)); do
    case "$at ${{words[i]}}" in
    {}) at+=" ${{words[i]}}" ;;
    esac
  done
  case "$at ${{words[CURRENT-1]}}" in
{}  esac
  case $at in
{}  esac
  if [[ ${{words[CURRENT]}} == -* ]]; then
    _describe -o option flags
  elif (( $#offered )); then
    _describe command offered
  else
    _files
  fi
}}
if [[ $funcstack[1] == _millrace ]]; then
  _millrace "$@"
else
  compdef _millrace millrace
fi
)",
                     SubcommandPatterns(root, "|"), ValueCases(root, "compadd -- {}; return", "_files; return"), cases);
}

std::string FishCompletion(const Command& root) {
  std::string lines;
  for (const Command* const command : AllCommands(root)) {
    const std::string begin = fmt::format("complete -c millrace -n '__millrace_at {}'", command->path);
    for (const Command& sub : command->subcommands) {
      lines += fmt::format("{} -a {} -d {}\n", begin, sub.name, FishQuoted(sub.description));
    }
    for (const auto& positional : command->positionals) {
      const auto& choices = positional.choices;
      lines += choices.empty() ? begin + " -F\n" : fmt::format("{} -a '{}'\n", begin, fmt::join(choices, " "));
    }
    for (const auto& option : command->options) {
      lines += begin;
      for (const auto& flag : option.flags) {
        lines += flag.starts_with("--") ? " -l " + flag.substr(2) : " -s " + flag.substr(1);
      }
      if (!option.choices.empty()) {
        lines += fmt::format(" -x -a '{}'", fmt::join(option.choices, " "));
      } else if (!option.placeholder.empty()) {
        lines += " -r -F";
      }
      lines += fmt::format(" -d {}\n", FishQuoted(option.description));
    }
  }
  return fmt::format(R"(# fish completion for millrace; made by `millrace completion fish`
function __millrace_at
    set -l at millrace
    for word in (commandline -opc)[2..]
        switch "$at $word"
            case {}
                set at "$at $word"
        end
    end
    test "$at" = "$argv"
end
complete -c millrace -f
{})",
                     SubcommandPatterns(root, " "), lines);
}

Run AddCompletion(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  app.add_option("shell", *shell, "bash | zsh | fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  return [shell, &app] {
    const Command root = ReadCommandTree(RootOf(app));
    PrintWhole(*shell == "bash" ? BashCompletion(root) : *shell == "zsh" ? ZshCompletion(root) : FishCompletion(root));
    return kOk;
  };
}

Run AddManual(CLI::App& app) {
  return [&app] {
    PrintWhole(ManualPage(ReadCommandTree(RootOf(app))));
    return kOk;
  };
}

}  // namespace millrace::app
