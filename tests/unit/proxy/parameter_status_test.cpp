#include "proxy/session/parameter_status.hpp"

#include <gtest/gtest.h>

namespace pgsteer::proxy {
namespace {

ParameterView view_of(ParameterMap parameters, bool from_replica = false) {
    ParameterView view;
    view.start(parameters, from_replica);
    return view;
}

TEST(ParameterView, ShowsWhatTheServerReportedAtLogin) {
    const ParameterMap reported{
        {"server_version", "15.6"}, {"client_encoding", "UTF8"}, {"TimeZone", "Etc/UTC"}};
    EXPECT_EQ(view_of(reported).all(), reported);
}

TEST(ParameterView, HidesThatTheFirstServerWasAReplica) {
    const ParameterMap reported{
        {"in_hot_standby", "on"}, {"default_transaction_read_only", "on"}, {"is_superuser", "on"}};
    EXPECT_EQ(view_of(reported).all(), reported) << "the primary's role is read-only by default";
    const auto view = view_of(reported, true);
    EXPECT_EQ(view.all().find("in_hot_standby")->second, "off");
    EXPECT_EQ(view.all().find("default_transaction_read_only")->second, "off");
    EXPECT_EQ(view.all().find("is_superuser")->second, "on");
}

TEST(ParameterView, PassesChangesOnOnce) {
    auto view = view_of({{"TimeZone", "Etc/UTC"}});
    EXPECT_FALSE(view.changed("TimeZone", "Etc/UTC"));
    EXPECT_TRUE(view.changed("TimeZone", "Asia/Tokyo"));
    EXPECT_EQ(view.all().find("TimeZone")->second, "Asia/Tokyo");
    EXPECT_FALSE(view.changed("TimeZone", "Asia/Tokyo")) << "the other server follows";
    EXPECT_TRUE(view.changed("TimeZone", "Etc/UTC"));
}

TEST(ParameterView, PassesOnWhatItHasNeverHeardOf) {
    auto view = view_of({});
    EXPECT_TRUE(view.changed("application_name", ""));
    EXPECT_FALSE(view.changed("application_name", ""));
    EXPECT_EQ(view.all().count("application_name"), 1U);
}

TEST(ParameterView, TellsNamesApartByCase) {
    auto view = view_of({{"DateStyle", "ISO, MDY"}});
    EXPECT_TRUE(view.changed("datestyle", "ISO, MDY"));
}

TEST(ParameterView, LexesSqlUnlessSomethingSpeaksAgainstIt) {
    EXPECT_TRUE(ParameterView{}.can_classify());
    EXPECT_TRUE(view_of({}).can_classify());
    EXPECT_TRUE(view_of({{"client_encoding", "UNICODE"}}).can_classify()) << "as it was spelled";
    EXPECT_TRUE(view_of({{"client_encoding", "UTF8"}, {"standard_conforming_strings", "on"}})
                    .can_classify());
}

TEST(ParameterView, DoesNotLexSqlWithoutStandardConformingStrings) {
    EXPECT_FALSE(view_of({{"standard_conforming_strings", "off"}}).can_classify());
    auto view = view_of({{"standard_conforming_strings", "on"}});
    view.changed("standard_conforming_strings", "off");
    EXPECT_FALSE(view.can_classify());
    view.changed("standard_conforming_strings", "on");
    EXPECT_TRUE(view.can_classify());
}

TEST(ParameterView, NeedsBothTheEncodingAndTheStrings) {
    auto view = view_of({{"client_encoding", "SJIS"}, {"standard_conforming_strings", "off"}});
    EXPECT_FALSE(view.can_classify());
    view.changed("client_encoding", "UTF8");
    EXPECT_FALSE(view.can_classify());
    view.changed("standard_conforming_strings", "on");
    EXPECT_TRUE(view.can_classify());
    view.changed("client_encoding", "BIG5");
    EXPECT_FALSE(view.can_classify());
    view.changed("TimeZone", "Etc/UTC");
    EXPECT_FALSE(view.can_classify()) << "another parameter says nothing about it";
    view.changed("standard_conforming_strings", "off");
    view.changed("standard_conforming_strings", "on");
    EXPECT_FALSE(view.can_classify());
}

struct Encoding {
    const char* name;
    bool is_safe;
};
void PrintTo(const Encoding& encoding, std::ostream* out) { *out << encoding.name; }

class ParameterViewEncoding : public testing::TestWithParam<Encoding> {};

TEST_P(ParameterViewEncoding, DecidesWhetherSqlIsLexed) {
    const auto [name, is_safe] = GetParam();
    EXPECT_EQ(view_of({{"client_encoding", name}}).can_classify(), is_safe);
    auto view = view_of({{"client_encoding", "UTF8"}});
    view.changed("client_encoding", name);
    EXPECT_EQ(view.can_classify(), is_safe);
}

// As the server spells them. PostgreSQL docs, table "PostgreSQL Character Sets": those that cannot
// be a server's encoding have multibyte characters whose later bytes may look like ASCII.
INSTANTIATE_TEST_SUITE_P(ThatAServerMayUse,
                         ParameterViewEncoding,
                         testing::Values(Encoding{"UTF8", true},
                                         Encoding{"SQL_ASCII", true},
                                         Encoding{"LATIN1", true},
                                         Encoding{"LATIN10", true},
                                         Encoding{"WIN866", true},
                                         Encoding{"WIN1252", true},
                                         Encoding{"ISO_8859_5", true},
                                         Encoding{"KOI8R", true},
                                         Encoding{"KOI8U", true},
                                         Encoding{"EUC_JP", true},
                                         Encoding{"EUC_CN", true},
                                         Encoding{"EUC_KR", true},
                                         Encoding{"EUC_TW", true},
                                         Encoding{"EUC_JIS_2004", true}));
INSTANTIATE_TEST_SUITE_P(OfClientsOnly,
                         ParameterViewEncoding,
                         testing::Values(Encoding{"SJIS", false},
                                         Encoding{"SHIFT_JIS_2004", false},
                                         Encoding{"BIG5", false},
                                         Encoding{"GBK", false},
                                         Encoding{"UHC", false},
                                         Encoding{"GB18030", false},
                                         Encoding{"JOHAB", false}));
INSTANTIATE_TEST_SUITE_P(Unknown,
                         ParameterViewEncoding,
                         testing::Values(Encoding{"", false}, Encoding{"EBCDIC", false}));

// --- what thousands of connections say alike ---

TEST(ReportedParameters, ACopyIsTheSameObjectUntilOneIsChanged) {
    const ReportedParameters first{{"TimeZone", "Etc/UTC"}, {"DateStyle", "ISO, MDY"}};
    auto second = first;
    EXPECT_TRUE(second.is_shared_with(first));
    EXPECT_FALSE(second.set("TimeZone", "Etc/UTC"));
    EXPECT_TRUE(second.is_shared_with(first));
    EXPECT_TRUE(second.set("TimeZone", "Asia/Tokyo"));
    EXPECT_EQ(*first.find("TimeZone"), "Etc/UTC");
    EXPECT_EQ(*second.find("TimeZone"), "Asia/Tokyo");
    EXPECT_EQ(*second.find("DateStyle"), "ISO, MDY");
}

TEST(ReportedParameters, AreSharedWhereTheySayTheSame) {
    const ReportedParameters first{{"TimeZone", "Etc/UTC"}};
    ReportedParameters second{{"TimeZone", "Asia/Tokyo"}};
    second.share(first);
    EXPECT_FALSE(second.is_shared_with(first));
    second.set("TimeZone", "Etc/UTC");
    second.share(first);
    EXPECT_TRUE(second.is_shared_with(first));
}

TEST(ReportedParameters, BeginWithNothing) {
    ReportedParameters none;
    EXPECT_TRUE(none.all().empty());
    EXPECT_EQ(none.find("TimeZone"), nullptr);
    none.share(ReportedParameters{{"TimeZone", "Etc/UTC"}});
    EXPECT_TRUE(none.all().empty());
    EXPECT_TRUE(none.set("TimeZone", ""));
    EXPECT_EQ(none.all().size(), 1U);
}

TEST(ParameterView, IsSharedWithWhatItWasStartedWith) {
    const ReportedParameters reported{{"TimeZone", "Etc/UTC"}, {"in_hot_standby", "off"}};
    ParameterView view;
    view.start(reported, false);
    EXPECT_TRUE(view.reported().is_shared_with(reported));
    view.start(reported, true);
    EXPECT_TRUE(view.reported().is_shared_with(reported)) << "it says what a primary says";
}

}  // namespace
}  // namespace pgsteer::proxy
