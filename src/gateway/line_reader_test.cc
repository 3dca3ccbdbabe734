// Line protocol to events, by the cases that its specification names.
#include "gateway/line_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr UnixMicros kReceived = 1'795'341'600'000'001;

std::variant<Batch, http::Problem> ReadBody(const std::string& body, std::int64_t precision = 1,
                                            const ReadRules& rules = {}, const std::string& coding = "") {
  LineReader reader;
  http::Request request;
  request.content_type = "text/plain; charset=utf-8";
  request.content_encoding = coding;
  request.body = body;
  return reader.Read(request, precision, kReceived, rules);
}
Batch Read(const std::string& body, std::int64_t precision = 1, const ReadRules& rules = {}) {
  auto read = ReadBody(body, precision, rules);
  EXPECT_TRUE(std::holds_alternative<Batch>(read));
  auto* batch = std::get_if<Batch>(&read);
  return batch == nullptr ? Batch{} : std::move(*batch);
}
std::string One(const std::string& line, std::int64_t precision = 1) {
  const auto batch = Read(line, precision);
  if (!batch.rejected.empty()) return batch.rejected[0].detail;
  return batch.events.size() == 1 ? batch.events[0].payload : "";
}
std::string Fields(const std::string& fields) {
  const std::string event = One("m " + fields + " 1");
  const std::string head = R"({"measurement":"m","tags":{},"fields":)";
  return event.starts_with(head) ? event.substr(head.size(), event.rfind(",\"time\"") - head.size()) : event;
}

TEST(LineReader, APointIsAnEvent) {
  EXPECT_EQ(
      One("weather,site=berlin,dev=d7 t=21.5,n=4i,ok=true,s=\"a\" 1465839830100400200"),
      R"({"measurement":"weather","tags":{"site":"berlin","dev":"d7"},"fields":{"t":21.5,"n":4,"ok":true,"s":"a"},)"
      R"("time":1465839830100400200})");
}

TEST(LineReader, TypesAreThoseOfTheProtocolToTheLastDigit) {
  EXPECT_EQ(Fields("a=9223372036854775807i,b=-9223372036854775808i,c=18446744073709551615u,d=0u"),
            R"({"a":9223372036854775807,"b":-9223372036854775808,"c":18446744073709551615,"d":0})");
  EXPECT_EQ(Fields("a=1,b=-1.10,c=1.234567890123456789,d=1e3,e=6.02E+23"),
            R"({"a":1,"b":-1.10,"c":1.234567890123456789,"d":1e3,"e":6.02E+23})");
  EXPECT_EQ(Fields("a=1.,b=+1.5,c=.5,d=007,e=-.5e1"), R"({"a":1,"b":1.5,"c":0.5,"d":7,"e":-5})");
  EXPECT_EQ(Fields("a=t,b=T,c=true,d=True,e=TRUE,f=f,g=F,h=false,i=False,j=FALSE"),
            R"({"a":true,"b":true,"c":true,"d":true,"e":true,"f":false,"g":false,"h":false,"i":false,"j":false})");
  EXPECT_EQ(Fields(R"(a="",b="x, y=z",c="\"\\\n")"), R"({"a":"","b":"x, y=z","c":"\"\\\\n"})") << "\\n is no escape";
  EXPECT_EQ(Fields("a=\"two\nlines\""), R"({"a":"two\nlines"})");
  EXPECT_EQ(Fields("a=1e-400,b=-1e-400,c=1.e-400,d=3e-324"), R"({"a":1e-400,"b":-1e-400,"c":0,"d":3e-324})")
      << "too small for a double is 0, as InfluxDB reads it";
  for (const char* wrong : {"a=", "a=x", "a=1x", "a=9223372036854775808i", "a=-1u", "a=1.5i", "a=i", "a=1e400", "a=nan",
                            "a=inf", "a=0x10", "a=+-1", "a=++1", "a=tRUE", "a=--1"}) {
    EXPECT_THAT(Fields(wrong), HasSubstr("neither a number")) << wrong;
  }
}

TEST(LineReader, EscapesAreThoseOfTheProtocol) {
  EXPECT_EQ(One(R"(my\ m\,x=y,tag\ k\=\,=v\ \,\= f\ k\=\,=1 1)"),
            R"({"measurement":"my m,x=y","tags":{"tag k=,":"v ,="},"fields":{"f k=,":1},"time":1})");
  EXPECT_EQ(One(R"("m",k="v" "f"="s" 1)"),
            R"({"measurement":"\"m\"","tags":{"k":"\"v\""},"fields":{"\"f\"":"s"},"time":1})")
      << "quotes are quotes around a field's value alone";
  EXPECT_EQ(One(R"(a\b,k=c\:\\temp x=1 1)"),
            R"({"measurement":"a\\b","tags":{"k":"c\\:\\\\temp"},"fields":{"x":1},"time":1})");
  EXPECT_EQ(One("m,k=\u00e9 x=\"\U0001f600\" 1"),
            "{\"measurement\":\"m\",\"tags\":{\"k\":\"\u00e9\"},\"fields\":{\"x\":\"\U0001f600\"},\"time\":1}");
}

TEST(LineReader, TimesAreNanosecondsWhateverThePrecision) {
  const auto time = [](const std::string& line, std::string_view precision) {
    const std::string event = One(line, *PrecisionOf(precision));
    const auto at = event.rfind(':');
    return event.starts_with('{') ? event.substr(at + 1, event.size() - at - 2) : event;
  };
  for (const auto& [word, wanted] : std::vector<std::pair<std::string, std::string>>{{"", "7"},
                                                                                     {"ns", "7"},
                                                                                     {"n", "7"},
                                                                                     {"us", "7000"},
                                                                                     {"u", "7000"},
                                                                                     {"ms", "7000000"},
                                                                                     {"s", "7000000000"},
                                                                                     {"m", "420000000000"},
                                                                                     {"h", "25200000000000"}}) {
    EXPECT_EQ(time("m x=1 7", word), wanted) << word;
  }
  EXPECT_EQ(PrecisionOf("d"), std::nullopt);
  EXPECT_EQ(time("m x=1", "s"), "1795341600000001000") << "that of arrival";
  EXPECT_EQ(time("m x=1 -1", "ms"), "-1000000");
  EXPECT_THAT(time("m x=1 9223372036854775807", "s"), HasSubstr("beyond what 64 bits have"));
  EXPECT_THAT(time("m x=1 9223372036854775808", "ns"), HasSubstr("beyond what 64 bits have"));
  EXPECT_THAT(time("m x=1 1.5", "s"), HasSubstr("'1.5' is no time"));
  EXPECT_THAT(time("m x=1 1 2", "s"), HasSubstr("'1 2' is no time"));
}

TEST(LineReader, ALineThatIsNoneIsRejectedAndTheOthersAreNot) {
  const auto batch = Read(
      "# a comment, x=\"\n\n  m x=1 1\r\nm\nm,k x=1\n,k=v x=1\nm x=\"open\nm,k= x=1\nm,=v x=1\nm =1\nm \n\tm x=2 2\n");
  std::vector<std::string> details;
  for (const auto& one : batch.rejected) details.push_back(one.detail);
  EXPECT_EQ(batch.events.size(), 2U);
  EXPECT_EQ(batch.events[1].index, 9U);
  EXPECT_THAT(
      details,
      ElementsAre("line 4: there are no fields", "line 5: 'k' has no '=' behind it", "line 6: there is no measurement",
                  "line 7: the string of the field 'x' does not end", "line 8: the tag 'k' has no value",
                  "line 9: a tag has no name", "line 10: a field has no name", "line 11: there are no fields"));
  EXPECT_THAT(One("m x=\"a\"b 1"), HasSubstr("has something behind it"));
  EXPECT_EQ(One("m,k=a,l=b,k=c x=1 1"), "line 1: the tag 'k' is there twice");
  EXPECT_EQ(One("m,k=a x=1,y=2,x=1 1"), "line 1: the field 'x' is there twice");
  EXPECT_EQ(One("m,a\\,b=1,a\\,b=1 x=1 1"), "line 1: the tag 'a\\,b' is there twice");
  EXPECT_THAT(One("m,x=a,xx=b x=1,xx=2 1"), HasSubstr(R"("fields":{"x":1,"xx":2})")) << "a tag is no field";
  EXPECT_THAT(One("m x=1, 1"), HasSubstr("a field has no name"));
  EXPECT_THAT(One("m x=1,y 1"), HasSubstr("'y' has no '='"));
  EXPECT_THAT(Read("m x=\"a\nb\" 1\nm \xff=1").rejected.at(0).detail, "line 3: it is not UTF-8");
  EXPECT_THAT(Read("\n# nothing\n").events, IsEmpty());
}

TEST(LineReader, BodiesAndEventsHaveBounds) {
  std::string lines;
  for (std::size_t i = 0; i < kEventsMax; ++i) lines += "m x=1\n";
  EXPECT_EQ(Read(lines).events.size(), kEventsMax);
  EXPECT_EQ(std::get<http::Problem>(ReadBody(lines + "m x=1")).code, "too_many_events");
  const auto large = Read("m x=\"" + std::string(1000, 'x') + "\"\nm x=1 1", 1, {.event_bytes_max = 100});
  EXPECT_EQ(large.rejected.at(0).code, "event_too_large");
  EXPECT_EQ(large.events.size(), 1U);
  EXPECT_EQ(Read("m x=\"" + std::string(90, '\n') + "\" 1", 1, {.event_bytes_max = 150}).rejected.at(0).code,
            "event_too_large")
      << "of the event, in which a line break takes two";
  EXPECT_EQ(std::get<http::Problem>(ReadBody(lines, 1, {.body_bytes_max = 100})).status, 413);
  EXPECT_EQ(std::get<http::Problem>(ReadBody("m x=1", 1, {}, "gzip")).code, "bad_compression");
  EXPECT_EQ(std::get<http::Problem>(ReadBody("m x=1", 1, {}, "br")).status, 415);
}

TEST(LineReader, TheKeyIsAFieldOfTheEvent) {
  const auto batch = Read("m,dev=d7 x=1 1\nm x=1 1", 1, {.key = "tags.dev"});
  EXPECT_EQ(batch.events.at(0).key, "d7");
  EXPECT_EQ(batch.events.at(1).key, std::nullopt);
}

}  // namespace
}  // namespace millrace::gateway
