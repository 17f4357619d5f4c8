// The one place where Boost.Asio is compiled (BOOST_ASIO_SEPARATE_COMPILATION), for all libraries.
#include <boost/asio/impl/src.hpp>
