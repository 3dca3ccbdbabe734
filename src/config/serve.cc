#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string_view>

#include "config/config_internal.h"

namespace millrace::config {

bool ServeConfig::is_for_this_machine_alone() const {
  return (listen.address == "::1" || listen.address.starts_with("127.")) && !auth;
}

namespace {

// Each is compared with at each request.
constexpr std::size_t kTokensMax = 1000;
constexpr std::size_t kOriginsMax = 100;
constexpr std::size_t kWorkersMax = 256;

constexpr std::string_view kMapped("\0\0\0\0\0\0\0\0\0\0\xFF\xFF", 12);

// Of an IPv4 address what stands for it in IPv6 (RFC 4291, 2.5.5.2).
std::string BinaryOf(const std::string& address) {
  std::string binary(16, '\0');
  if (inet_pton(AF_INET6, address.c_str(), binary.data()) == 1) return binary;
  binary.resize(4);
  inet_pton(AF_INET, address.c_str(), binary.data());
  return std::string(kMapped) + binary;
}

// Who listens on "::" is given what comes over IPv4, too.
bool IsAllOf(const std::string& all, const std::string& some) {
  if (all == std::string(16, '\0')) return true;
  return all == std::string(kMapped) + std::string(4, '\0') && some.starts_with(kMapped);
}

}  // namespace

bool ReadListen(Section& section, ListenConfig& config, const std::string& name, int usual) {
  std::string listen;
  const auto* node = section.Text(name, listen);
  if (node == nullptr) return false;
  const std::string key = section.path() + "." + name;
  const auto colon = listen.rfind(':');
  std::string host = listen.substr(0, colon);
  const std::string port = colon == std::string::npos ? "" : listen.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    host.clear();  // An IPv6 address without brackets: its end cannot be told from a port.
  }
  std::uint16_t number = 0;
  const auto [rest, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (host.empty() || port.empty() || error != std::errc() || rest != port.data() + port.size()) {
    section.AddFinding(node->place, fmt::format("{0} must be an address and a port such as 127.0.0.1:{1} or "
                                                "[::1]:{1}, not '{2}'",
                                                key, usual, listen));
    return false;
  }
  in6_addr binary{};
  if (inet_pton(AF_INET, host.c_str(), &binary) != 1 && inet_pton(AF_INET6, host.c_str(), &binary) != 1) {
    section.AddFinding(node->place, fmt::format("{}: '{}' is not an IP address; write 127.0.0.1 for this "
                                                "machine alone, 0.0.0.0 for all of its addresses",
                                                key, host));
    return false;
  }
  config.address = host;
  config.port = number;
  return true;
}

bool IsSameDoor(const ListenConfig& one, const ListenConfig& other) {
  if (one.port == 0 || one.port != other.port) return false;
  const auto a = BinaryOf(one.address);
  const auto b = BinaryOf(other.address);
  return a == b || IsAllOf(a, b) || IsAllOf(b, a);
}

namespace {

void ReadHealth(Section& serve, ServeConfig& config) {
  auto health = serve.Child("health");
  ListenConfig listen;
  health.Require("listen");
  const bool known = ReadListen(health, listen);
  health.Finish();
  if (!known) return;
  if (IsSameDoor(listen, config.listen)) {
    health.AddFinding(health.place(), "serve.health.listen is serve.listen; give it another port");
  }
  config.health = listen;
}

// After `listen`, `health` and `auth`.
void ReadPostgres(Section& serve, ServeConfig& config) {
  ListenConfig door;
  if (!ReadListen(serve, door, "postgres", 5433)) return;
  const auto place = serve.Find("postgres")->place;
  const bool is_listen = IsSameDoor(door, config.listen);
  if (is_listen || (config.health && IsSameDoor(door, *config.health))) {
    serve.AddFinding(place, fmt::format("serve.postgres is {}; give it another port",
                                        is_listen ? "serve.listen" : "serve.health.listen"));
  }
  const auto may_ask = [](const serve::AccessToken& token) {
    return std::find(token.scopes.begin(), token.scopes.end(), "sql") != token.scopes.end();
  };
  if (config.auth && std::none_of(config.auth->tokens.begin(), config.auth->tokens.end(), may_ask)) {
    serve.AddFinding(place,
                     "serve.postgres lets nobody in: passwords are tokens of serve.auth with the scope 'sql', and "
                     "there is none (a JWT is no password here)");
  }
  config.postgres = door;
}

void ReadTls(Section& serve, ServeConfig& config) {
  auto tls = serve.Child("tls");
  http::TlsFiles files;
  const auto* certificate = tls.RequireText("certificate_file", files.certificate_file);
  const auto* key = tls.RequireText("key_file", files.key_file);
  const auto* client_ca = tls.Text("client_ca_file", files.client_ca_file);
  tls.Finish();
  if (!tls.exists()) return;
  if (tls.context().files && certificate != nullptr && key != nullptr) {
    for (const auto& fault : http::CheckTlsFiles(files)) {
      const bool of_key = fault.file == &http::TlsFiles::key_file;
      const auto* const node = of_key ? key : fault.file == &http::TlsFiles::certificate_file ? certificate : client_ca;
      const char* const name = of_key ? "key_file" : node == certificate ? "certificate_file" : "client_ca_file";
      tls.AddFinding(node->place, fmt::format("serve.tls.{}: {}", name, fault.message));
    }
  }
  config.tls = std::move(files);
}

/// Finds a token that is there already. What a token is, no finding shows.
class KnownTokens {
 public:
  void Add(Section& section, const ConfigNode& node, const std::string& token) {
    const auto same = std::find_if(known_.begin(), known_.end(), [&](const auto& one) { return one.first == token; });
    if (same != known_.end()) {
      section.AddFinding(node.place, fmt::format("{} is the same token as that of line {}; a token can have several "
                                                 "scopes",
                                                 section.path(), same->second));
    }
    known_.emplace_back(token, node.place.line);
  }

 private:
  std::vector<std::pair<std::string, int>> known_;
};

void ReadToken(Section& section, KnownTokens& known, AuthConfig& config) {
  serve::AccessToken token;
  const auto* node = section.RequireText("token", token.token);
  if (node != nullptr) {
    const bool good = std::all_of(token.token.begin(), token.token.end(), [](char c) { return c > ' ' && c <= '~'; });
    if (!good) {
      section.AddFinding(node->place, fmt::format("{}.token holds a blank or another character that no header can "
                                                  "carry; a token is visible ASCII",
                                                  section.path()));
    }
    known.Add(section, *node, token.token);
  }
  section.Require("scopes");
  const auto scopes = section.TextList("scopes", token.scopes);
  for (std::size_t i = 0; i < scopes.size(); ++i) {
    if (const auto fault = serve::FaultOfScope(token.scopes[i])) {
      section.AddFinding(scopes[i]->place, fmt::format("{}.scopes: {}", section.path(), *fault));
    }
  }
  if (const auto* list = section.Find("scopes");
      list != nullptr && list->kind == ConfigNode::Kind::kSequence && list->items.empty()) {
    section.AddFinding(list->place, fmt::format("{}.scopes is empty: this token could do nothing", section.path()));
  }
  section.Finish();
  config.tokens.push_back(std::move(token));
}

void ReadJwt(Section& auth, AuthConfig& config) {
  auto jwt = auth.Child("jwt");
  JwtConfig read;
  const auto* jwks = jwt.RequireText("jwks", read.keys.jwks);
  const auto* ca_file = jwt.Text("ca_file", read.keys.ca_file);
  jwt.Text("issuer", read.rules.issuer);
  jwt.TextList("audience", read.rules.audiences);
  jwt.Text("scopes_claim", read.rules.scopes_claim);
  jwt.Finish();
  if (!jwt.exists()) return;
  if (jwks != nullptr) {
    if (const auto fault = serve::FaultOfKeyPlace(read.keys, jwt.context().files)) {
      jwt.AddFinding(jwks->place, fmt::format("{}.jwks: {}", jwt.path(), *fault));
    }
  }
  if (ca_file != nullptr && jwt.context().files) {
    if (const auto fault = http::FaultOfAuthorities(read.keys.ca_file)) {
      jwt.AddFinding(ca_file->place, fmt::format("{}.ca_file: {}", jwt.path(), *fault));
    }
  }
  config.jwt = std::move(read);
}

void ReadAuth(Section& serve, ServeConfig& config) {
  auto auth = serve.Child("auth");
  AuthConfig read;
  KnownTokens known;
  std::string bearer;
  if (const auto* node = auth.Text("bearer", bearer); node != nullptr) {
    known.Add(auth, *node, bearer);
    read.tokens.push_back({std::move(bearer), {"read", "sql"}});
  }
  auto tokens = auth.Children("tokens");
  for (auto& token : tokens) ReadToken(token, known, read);
  ReadJwt(auth, read);
  auth.Finish();
  if (!auth.exists()) return;
  if (!auth.Has("bearer") && !auth.Has("jwt") && tokens.empty()) {
    auth.AddFinding(auth.place(), "serve.auth lets nobody in; give it 'bearer', 'tokens' or 'jwt', or leave it out");
  }
  if (tokens.size() > kTokensMax) {
    auth.AddFinding(auth.place(), fmt::format("serve.auth.tokens has {} tokens; {} may be: for more use 'jwt'",
                                              tokens.size(), kTokensMax));
  }
  config.auth = std::move(read);
}

// As browsers write it: scheme, host in small letters, and the port unless it is the scheme's own.
bool IsOrigin(const std::string& text) {
  const std::size_t scheme = text.starts_with("https://") ? 8 : text.starts_with("http://") ? 7 : 0;
  const std::string host = text.substr(scheme);
  const bool own_port = host.ends_with(scheme == 8 ? ":443" : ":80");
  return scheme != 0 && !host.empty() && !own_port && std::all_of(host.begin(), host.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':' || c == '[' ||
                  c == ']';
         });
}

void ReadCors(Section& serve, ServeConfig& config) {
  auto cors = serve.Child("cors");
  cors.Require("origins");
  const auto nodes = cors.TextList("origins", config.cors_origins);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (config.cors_origins[i] == "*" || IsOrigin(config.cors_origins[i])) continue;
    cors.AddFinding(nodes[i]->place,
                    fmt::format("serve.cors.origins: '{}' is not an origin as browsers send it, such as "
                                "https://bi.example or http://localhost:3000, nor '*'",
                                config.cors_origins[i]));
  }
  if (nodes.size() > kOriginsMax) {
    cors.AddFinding(cors.place(),
                    fmt::format("serve.cors.origins has {} origins; {} may be", nodes.size(), kOriginsMax));
  }
  cors.Finish();
}

// "http://worker-1:8080" and nothing behind it.
bool IsServerUrl(const std::string& url) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!url.starts_with(scheme)) continue;
    const auto host = std::string_view(url).substr(scheme.size());
    const auto is_of_a_name = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
             std::string_view("-._:[]").find(c) != std::string_view::npos;
    };
    return !host.empty() && std::all_of(host.begin(), host.end(), is_of_a_name);
  }
  return false;
}

/// {dns, port}
void ReadWorkersByName(Section workers, ServeConfig& serve) {
  WorkersByName name;
  const auto* node = workers.RequireText("dns", name.dns);
  int port = name.port;
  workers.Int("port", 1, 65'535, port);
  name.port = static_cast<std::uint16_t>(port);
  workers.Finish();
  if (!workers.exists()) return;
  if (node != nullptr && !IsServerUrl("http://" + name.dns)) {
    workers.AddFinding(node->place,
                       fmt::format("serve.workers.dns: '{}' is not a name such as workers.default.svc", name.dns));
  }
  if (serve.tls) {
    workers.AddFinding(workers.place(),
                       "serve.workers.dns: what a name stands for is asked over plain HTTP, and with serve.tls workers "
                       "do not speak it; list their https:// addresses");
  }
  serve.workers_by_name = std::move(name);
}

void ReadWorkers(Section& section, ServeConfig& serve) {
  std::string token;
  if (section.Text("internal_token", token) != nullptr) serve.internal_token = std::move(token);
  const auto* const workers = section.Find("workers");
  if (workers != nullptr && !serve.is_for_this_machine_alone() && !section.Has("internal_token")) {
    section.AddFinding(
        workers->place,
        "serve.workers: without serve.internal_token workers answer each other only where serve.listen is "
        "a loopback address and serve.auth is not there");
  }
  const bool by_name = workers != nullptr && workers->kind == ConfigNode::Kind::kMap;
  ReadWorkersByName(by_name ? section.Child("workers") : Section("serve.workers", section.context()), serve);
  if (by_name) return;
  const auto nodes = section.TextList("workers", serve.workers);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (IsServerUrl(serve.workers[i])) continue;
    section.AddFinding(nodes[i]->place, fmt::format("serve.workers: '{}' is not the address of a worker, such as "
                                                    "http://worker-1:8080",
                                                    serve.workers[i]));
  }
  if (nodes.size() > kWorkersMax) {
    section.AddFinding(nodes.back()->place,
                       fmt::format("serve.workers names {} workers, {} are the most", nodes.size(), kWorkersMax));
  }
}

void ReadLimits(Section limits, ServeConfig& serve) {
  limits.Duration("query_timeout", std::chrono::milliseconds(1), serve.query_timeout);
  int rows = static_cast<int>(serve.answer_rows_max);
  limits.Int("rows", 1, 1'000'000'000, rows);
  serve.answer_rows_max = rows;
  limits.Int("concurrent_queries", 1, 1024, serve.concurrent_queries);
  limits.Int("connections", 16, 100'000, serve.connections);
  std::string rate;
  if (const auto* node = limits.Text("rate", rate); node != nullptr) {
    const auto parsed = serve::ParseRate(rate);
    if (parsed.ok()) {
      serve.rate = *parsed;
    } else {
      limits.AddFinding(node->place, "serve.limits.rate: " + parsed.status().message());
    }
  }
  limits.Finish();
}

}  // namespace

void ReadServe(Section& root, PipelineConfig& config) {
  auto section = root.Child("serve");
  ServeConfig serve;
  ReadListen(section, serve.listen);
  ReadHealth(section, serve);
  ReadTls(section, serve);
  ReadAuth(section, serve);
  ReadPostgres(section, serve);
  ReadCors(section, serve);
  ReadWorkers(section, serve);
  ReadLimits(section.Child("limits"), serve);
  section.Finish();
  if (root.Find("serve") != nullptr) config.serve = std::move(serve);
}

}  // namespace millrace::config
