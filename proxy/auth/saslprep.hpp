#pragma once

#include <string>
#include <string_view>

namespace pgsteer::proxy::auth {

// The form of a password that SCRAM hashes: SASLprep (RFC 4013) as PostgreSQL applies it. ASCII,
// text that is not UTF-8, and text with a prohibited character are used as they are. Other spaces
// become a space, soft hyphens and their like vanish. Not done: Unicode normalization (NFKC), for
// want of its tables in our libraries. A password typed decomposed or with compatibility characters
// (a ligature, a superscript 2) must be given to pgsteer in its normalized form, or as a verifier.
std::string saslprep(std::string_view password);

}  // namespace pgsteer::proxy::auth
