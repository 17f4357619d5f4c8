// Backend messages that pgsteer reads or writes itself. All others are forwarded as bytes.
#pragma once

#include "proxy/errors.hpp"
#include "proxy/wire/bytes.hpp"
#include "routing/transaction_status.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgsteer::proxy::wire {

// Fields of ErrorResponse and NoticeResponse. Every field may be missing; views point into the
// body.
struct ErrorFields {
    std::string_view severity;  // 'V', else 'S'; "" if neither
    std::string_view sqlstate;  // "" if missing
    std::string_view message;
    std::string_view hint;
    std::string_view routine = {};  // of PostgreSQL's source: never translated
};
Result<ErrorFields> decode_error(Bytes body);  // protocol_violation: a field without end

struct ParameterStatus {
    std::string_view name, value;
};
Result<ParameterStatus> decode_parameter_status(Bytes body);

struct BackendKeyData {
    std::uint32_t process_id = 0, secret_key = 0;
};
Result<BackendKeyData> decode_backend_key_data(Bytes body);

enum class AuthenticationKind : std::uint32_t {
    ok = 0,
    cleartext = 3,
    md5 = 5,
    sasl = 10,
    sasl_continue = 11,
    sasl_final = 12
};
struct Authentication {
    std::uint32_t kind = 0;  // an AuthenticationKind, or one that is not known here
    Bytes data;              // md5: salt (4 bytes); sasl*: the rest
};
Result<Authentication> decode_authentication(Bytes body);
std::vector<std::string_view> sasl_mechanisms(Bytes data);

// protocol_violation if it is no status that PostgreSQL has.
Result<routing::TransactionStatus> decode_ready_for_query(Bytes body);
Result<std::string_view> decode_command_complete(Bytes body);  // the command tag
// First row helper for our own queries: text columns of a DataRow; a NULL is an empty view with
// data()==nullptr.
Result<std::vector<std::string_view>> decode_data_row(Bytes body);

struct ErrorText {
    std::string_view severity;  // ERROR, FATAL
    std::string_view sqlstate, message;
    std::string_view detail{}, hint{};
};
void encode_error(Buffer& out, const ErrorText& error);
void encode_notice(Buffer& out, const ErrorText& notice);
void encode_authentication(Buffer& out, AuthenticationKind kind, Bytes data = {});
void encode_sasl_mechanisms(Buffer& out, std::vector<std::string_view> mechanisms);
void encode_parameter_status(Buffer& out, std::string_view name, std::string_view value);
void encode_backend_key_data(Buffer& out, const BackendKeyData& key);
void encode_ready_for_query(Buffer& out, routing::TransactionStatus status);
void encode_negotiate_protocol_version(Buffer& out,
                                       std::uint32_t newest_minor,
                                       const std::vector<std::string>& unknown_options);
// ParseComplete, BindComplete, NoData: messages without a body.
void encode_bare(Buffer& out, std::uint8_t type);
void encode_no_parameters(Buffer& out);  // ParameterDescription
void encode_command_complete(Buffer& out, std::string_view tag);

}  // namespace pgsteer::proxy::wire
