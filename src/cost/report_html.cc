#include <algorithm>
#include <cmath>

#include "cost/report.h"

namespace millrace::cost {
namespace {

constexpr const char* kColors[kNumCategories] = {"#0d9488", "#6366f1", "#d97706", "#0284c7",
                                                 "#db2777", "#65a30d", "#94a3b8", "#7c3aed"};
constexpr const char* kProviderColors[] = {"#d97706", "#0284c7", "#6366f1", "#0d9488"};

constexpr const char* kStyle = R"css(
:root { color-scheme: light dark; --page: #f6f7f6; --card: #fff; --line: #e2e6e4; --text: #16211e; --soft: #63716c; --accent: #0d9488; --warn: #b45309; }
@media (prefers-color-scheme: dark) { :root { --page: #0e1413; --card: #151d1b; --line: #26312e; --text: #e4ebe8; --soft: #93a29d; --accent: #2dd4bf; --warn: #fbbf24; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 26px 20px 40px; }
h1 { font-size: 22px; letter-spacing: -.01em; margin: 0 0 2px; } h2 { font-size: 12px; margin: 0 0 12px; color: var(--soft); letter-spacing: .04em; text-transform: uppercase; }
.load { color: var(--soft); margin: 0 0 18px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px; margin-bottom: 16px; }
.totals { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 16px; margin-bottom: 16px; } .totals .card { margin: 0; }
.totals b { display: block; font-size: 13px; color: var(--soft); font-weight: 600; } .totals strong { font-size: 27px; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.totals small { display: block; color: var(--soft); font-size: 12.5px; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font: 12px system-ui, sans-serif; } svg .strong { fill: var(--text); font-weight: 600; }
.grid { stroke: var(--line); } .legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft); margin-top: 10px; } .legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: right; font-size: 12px; font-weight: 500; color: var(--soft); padding: 4px 9px; border-bottom: 1px solid var(--line); white-space: nowrap; }
td { text-align: right; padding: 6px 9px; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top; } td small { display: block; color: var(--soft); white-space: normal; max-width: 46em; font-size: 12px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; } th:last-child, td:last-child { text-align: left; padding-right: 0; }
tr.group td { font-weight: 600; padding-top: 14px; } tr.total td { font-weight: 650; border-bottom: 0; font-size: 15px; }
.warn { color: var(--warn); } li { margin-bottom: 8px; } li small { display: block; color: var(--soft); } ul { padding-left: 20px; margin: 0; }
a { color: var(--accent); text-decoration: none; } summary { cursor: pointer; font-weight: 600; } details > .scroll { margin-top: 12px; } footer { color: var(--soft); font-size: 13px; }
)css";

std::string Escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

// 1,234 or 0.0123: for axes and for money per something.
std::string Short(double value) {
  if (value >= 1e6) return fmt::format("{:g} M", value / 1e6);
  if (value >= 1e3) return fmt::format("{:g} k", value / 1e3);
  return fmt::format("{:g}", value);
}

class Page {
 public:
  explicit Page(const Report& report) : report_(report), first_(report.estimates.front()) {}

  std::string Write() {
    out_ =
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>What it costs · Millrace</title>\n<style>";
    out_ += kStyle;
    out_ += "</style>\n</head>\n<body>\n<main>\n";
    out_ += fmt::format("<h1>What it costs a month</h1>\n<p class=\"load\">{}</p>\n", Escape(Describe(first_.usage)));
    Totals();
    Bars();
    CurveChart();
    Lines();
    AdviceList();
    Load();
    out_ += fmt::format(
        "<footer>USD, list prices before tax and discounts. Price sheet {}, sha256 {}, computed for {}.</footer>\n",
        Escape(first_.sheet), first_.sha256, ToText(first_.today));
    out_ += "</main>\n</body>\n</html>\n";
    return std::move(out_);
  }

 private:
  static std::string Name(const Estimate& estimate) {
    return fmt::format("{} {}", DisplayName(estimate.provider), estimate.region.name);
  }
  static std::string Small(const std::optional<Money>& money) {
    return money ? fmt::format("{:.3g}", money->dollars()) : "–";
  }

  void Totals() {
    out_ += "<div class=\"totals\">\n";
    for (const auto& estimate : report_.estimates) {
      out_ += fmt::format(
          "<div class=\"card\"><b>{}</b><strong>{}</strong>{}<small>{} per million events</small><small>{} per GB "
          "ingested</small></div>\n",
          Escape(Name(estimate)), ToCents(estimate.total),
          estimate.complete() ? "" : "<small class=\"warn\">without what has no price</small>",
          Small(estimate.per_million_events), Small(estimate.per_gb));
    }
    out_ += "</div>\n";
  }

  void Bars() {
    constexpr double kWidth = 1080, kLeft = 190, kRight = 110, kRow = 46, kBar = 26;
    Money largest = Money::FromCents(1);
    for (const auto& estimate : report_.estimates) largest = std::max(largest, estimate.total);
    const double scale = (kWidth - kLeft - kRight) / largest.dollars();
    const double height = kRow * static_cast<double>(report_.estimates.size());
    out_ += fmt::format(
        "<section class=\"card\"><h2>By part</h2>\n<svg viewBox=\"0 0 {} {}\" role=\"img\" "
        "aria-label=\"Cost by part\">\n",
        kWidth, height);
    std::array<bool, kNumCategories> used{};
    double y = 0;
    for (const auto& estimate : report_.estimates) {
      out_ += fmt::format("<text x=\"0\" y=\"{:.0f}\" class=\"strong\">{}</text>", y + 26, Escape(Name(estimate)));
      double x = kLeft;
      for (std::size_t c = 0; c < kNumCategories; ++c) {
        const double width = estimate.by_category[c].dollars() * scale;
        if (width <= 0) continue;
        used[c] = true;
        out_ += fmt::format(
            "<rect x=\"{:.1f}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"{:.0f}\" fill=\"{}\"><title>{}: "
            "{}</title></rect>",
            x, y + 9, std::max(width, 0.5), kBar, kColors[c], ToString(static_cast<Category>(c)),
            ToCents(estimate.by_category[c]));
        x += width;
      }
      out_ += fmt::format("<text x=\"{:.0f}\" y=\"{:.0f}\" class=\"strong\">{}{}</text>\n", x + 8, y + 26,
                          ToCents(estimate.total), estimate.complete() ? "" : " *");
      y += kRow;
    }
    out_ += "</svg>\n<div class=\"legend\">";
    for (std::size_t c = 0; c < kNumCategories; ++c) {
      if (!used[c]) continue;
      out_ +=
          fmt::format("<span><i style=\"background:{}\"></i>{}</span>", kColors[c], ToString(static_cast<Category>(c)));
    }
    out_ += "</div></section>\n";
  }

  // Both axes logarithmic: a bill runs from dollars to millions with the rate.
  void CurveChart() {
    double low = 1e300, high = 0, least = 1e300, most = 0;
    for (const auto& curve : report_.curves) {
      for (const auto& point : curve.points) {
        low = std::min(low, point.events_per_second);
        high = std::max(high, point.events_per_second);
        least = std::min(least, point.total.dollars());
        most = std::max(most, point.total.dollars());
      }
    }
    if (!(low < high) || !(least > 0)) return;
    constexpr double kWidth = 1080, kHeight = 300, kLeft = 64, kRight = 20, kTop = 12, kBottom = 34;
    const double y_low = std::floor(std::log10(least));
    const double y_high = std::max(y_low + 1, std::ceil(std::log10(most)));
    const auto x_of = [&](double rate) {
      return kLeft + std::log(rate / low) / std::log(high / low) * (kWidth - kLeft - kRight);
    };
    const auto y_of = [&](double usd) {
      return kTop + (y_high - std::log10(usd)) / (y_high - y_low) * (kHeight - kTop - kBottom);
    };
    out_ += fmt::format(
        "<section class=\"card\"><h2>USD a month over events/s</h2>\n<svg viewBox=\"0 0 {} {}\" "
        "role=\"img\" aria-label=\"Cost over events a second\">\n",
        kWidth, kHeight);
    for (double power = y_low; power <= y_high; ++power) {
      const double y = y_of(std::pow(10, power));
      out_ += fmt::format(
          "<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" class=\"grid\"/><text x=\"{}\" "
          "y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
          kLeft, kWidth - kRight, y, y, kLeft - 8, y + 4, Short(std::pow(10, power)));
    }
    for (double power = std::ceil(std::log10(low)); power <= std::log10(high) + 1e-9; ++power) {
      const double x = x_of(std::pow(10, power));
      out_ += fmt::format(
          "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\" class=\"grid\"/><text x=\"{:.1f}\" "
          "y=\"{}\" text-anchor=\"middle\">{}</text>\n",
          x, x, kTop, kHeight - kBottom, x, kHeight - 12, Short(std::pow(10, power)));
    }
    const double now = first_.usage.events_per_second;
    out_ += fmt::format(
        "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\" stroke=\"var(--soft)\" "
        "stroke-dasharray=\"3 4\"/><text x=\"{:.1f}\" y=\"{}\">this load</text>\n",
        x_of(now), x_of(now), kTop, kHeight - kBottom, x_of(now) + 6, kTop + 12);
    std::string legend;
    for (const auto& curve : report_.curves) {
      const char* const color = kProviderColors[static_cast<std::size_t>(curve.provider)];
      std::string points;
      for (const auto& point : curve.points) {
        points += fmt::format("{:.1f},{:.1f} ", x_of(point.events_per_second), y_of(point.total.dollars()));
      }
      out_ +=
          fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.2\"/>\n", points, color);
      for (const auto& point : curve.points) {
        out_ += fmt::format(
            "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"><title>{} events/s: {}{}</title></circle>",
            x_of(point.events_per_second), y_of(point.total.dollars()), color,
            Short(std::round(point.events_per_second)), ToCents(point.total),
            point.complete ? "" : ", without what has no price");
      }
      legend += fmt::format("<span><i style=\"background:{}\"></i>{}</span>", color, DisplayName(curve.provider));
    }
    out_ += "</svg>\n<div class=\"legend\">" + legend + "</div></section>\n";
  }

  void Lines() {
    for (const auto& estimate : report_.estimates) {
      out_ += fmt::format(
          "<section class=\"card\"><details{}><summary>{} ({}), line by line</summary>\n<div "
          "class=\"scroll\"><table>\n<thead><tr><th>name</th><th>monthly quantity</th><th>unit</th>"
          "<th>price</th><th>USD a month</th><th>share</th><th>source, in force</th></tr></thead>\n<tbody>\n",
          &estimate == &first_ ? " open" : "", Escape(Name(estimate)), Escape(estimate.region.place));
      for (std::size_t c = 0; c < kNumCategories; ++c) Group(estimate, static_cast<Category>(c));
      out_ += fmt::format(
          "<tr class=\"total\"><td>Total</td><td></td><td></td><td></td><td>{}</td><td></td><td>{}</td></tr>\n",
          ToCents(estimate.total), estimate.complete() ? "" : "without what has no price");
      out_ += "</tbody></table></div></details></section>\n";
    }
  }

  void Group(const Estimate& estimate, Category category) {
    const Money subtotal = estimate.by_category[static_cast<std::size_t>(category)];
    bool any = false;
    for (const auto& line : estimate.lines) {
      if (line.resource.category != category) continue;
      if (!any) {
        out_ += fmt::format(
            "<tr class=\"group\"><td>{}</td><td></td><td></td><td></td><td>{}</td><td>{}</td><td></td></tr>\n",
            ToString(category), ToCents(subtotal), Percent(subtotal, estimate.total));
      }
      any = true;
      for (const auto& component : ComponentsOf(line)) {
        out_ += fmt::format("<tr><td>{}<small>{}</small></td><td>{}</td><td>{}</td>", Escape(component.name),
                            Escape(line.resource.rule), ToPeople(component.quantity), FindSku(line.resource.sku)->unit);
        if (!component.usd) {
          out_ += fmt::format(
              "<td class=\"warn\">no price</td><td class=\"warn\">?</td><td></td><td class=\"warn\">{} in "
              "{}</td></tr>\n",
              Escape(line.resource.sku), Escape(estimate.region.name));
          continue;
        }
        const auto& source = *line.price->source;
        const std::string name = fmt::format("{} {}", source.id, ToText(source.as_of));
        out_ += fmt::format(
            "<td>{}{}</td><td>{}</td><td>{}</td><td title=\"{}\">{}</td></tr>\n", ToDecimal(*component.usd),
            component.per > 1 ? " per " + Short(static_cast<double>(component.per)) : "", ToCents(component.money),
            Percent(component.money, estimate.total),
            Escape(source.kind + ". " + source.about + " " + line.price->note),
            source.url.starts_with("https://") ? fmt::format("<a href=\"{}\">{}</a>", Escape(source.url), Escape(name))
                                               : Escape(name));
      }
    }
  }

  static std::string Percent(Money part, Money whole) {
    if (whole == Money()) return "";
    return fmt::format("{:.1f} %", 100 * static_cast<double>(part.nanos()) / static_cast<double>(whole.nanos()));
  }

  void AdviceList() {
    if (report_.advice.empty()) return;
    out_ += fmt::format("<section class=\"card\"><h2>Advice for {}</h2>\n<ul>\n",
                        DisplayName(report_.estimates[report_.advice_for].provider));
    for (const auto& advice : report_.advice) {
      out_ += fmt::format("<li>{}<small>{}</small></li>\n", Escape(advice.title), Escape(advice.arithmetic));
    }
    out_ += "</ul></section>\n";
  }

  void Load() {
    out_ +=
        "<section class=\"card\"><details><summary>The load, and what of it is assumed</summary>\n<div "
        "class=\"scroll\"><table><thead><tr><th>input</th><th>value</th><th>says "
        "who</th><th></th></tr></thead>\n<tbody>\n";
    for (const auto& field : UsageFields()) {
      const auto origin = first_.usage.origins.find(field.name);
      const bool detail = field.name == "lake.tables" && !first_.usage.tables_detail.empty();
      out_ += fmt::format(
          "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", field.name,
          Escape(detail ? fmt::format("{} named", first_.usage.tables_detail.size()) : field.get(first_.usage)),
          Escape(origin == first_.usage.origins.end() ? "assumed" : origin->second), Escape(field.about));
    }
    out_ += "</tbody></table></div></details></section>\n";
  }

  const Report& report_;
  const Estimate& first_;
  std::string out_;
};

}  // namespace

std::string ToHtml(const Report& report) { return Page(report).Write(); }

}  // namespace millrace::cost
