#!/bin/sh
# Made the PEM files in this folder, for tests alone (2026, OpenSSL 3.0). The
# tests read them as of 2027-01-01.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# issue NAME KEY FROM UNTIL EXTENSIONS [CA-NAME]: NAME.pem for KEY, by CA-NAME or by itself.
issue() {
    openssl req -new -key "$2" -subj "/CN=${SUBJECT:-$1}" -out "$work/$1.csr"
    : >"$work/index"
    cat >"$work/ca.cnf" <<END
[ca]
default_ca = here
[here]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[none]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = keyCertSign
[peer]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost
keyUsage = digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth, clientAuth
[no_name]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
[no_server]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost
extendedKeyUsage = clientAuth
[no_client]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost
extendedKeyUsage = serverAuth
[no_signature]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost
keyUsage = keyEncipherment
[no_issuer]
basicConstraints = critical, CA:TRUE
keyUsage = cRLSign
[revoker]
basicConstraints = critical, CA:TRUE
keyUsage = keyCertSign, cRLSign
END
    if [ $# -ge 6 ]; then signer="-cert $6.pem -keyfile $6-key.pem"; else signer="-selfsign -keyfile $2"; fi
    # shellcheck disable=SC2086
    openssl ca -batch -notext -config "$work/ca.cnf" -in "$work/$1.csr" -out "$1.pem" \
        -extensions "$5" -startdate "$3" -enddate "$4" $signer 2>"$work/log" || { cat "$work/log"; exit 1; }
}
now=20260101000000Z
later=21260101000000Z

openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca-key.pem
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256-key.pem
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384-key.pem
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out p521-key.pem
openssl genpkey -algorithm ED25519 -out ed25519-key.pem
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa2048-key.pem
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa1024-key.pem

issue ca ca-key.pem $now $later authority
for kind in p256 p384 p521 ed25519 rsa2048 rsa1024; do
    issue $kind $kind-key.pem $now $later peer ca
done
issue expired p256-key.pem $now 20260102000000Z peer
issue early p256-key.pem 21000101000000Z $later peer


# Certificates that no peer takes.
for lack in none no_name no_server no_client no_signature; do
    issue $lack p256-key.pem $now $later $lack ca
done
issue authority p256-key.pem $now $later authority
SUBJECT=ca issue no_issuer ca-key.pem $now $later no_issuer

# The same keys in the older wrappings.
openssl ec -in p256-key.pem -out p256-sec1.pem
openssl ec -in p384-key.pem -no_public -out p384-sec1.pem
openssl rsa -in rsa2048-key.pem -traditional -out rsa2048-pkcs1.pem
openssl pkcs8 -topk8 -in p256-key.pem -passout pass:x -out locked-key.pem

cat p256.pem ca.pem >p256-chain.pem
cat p256.pem p384.pem >wrong-order.pem
head -c 300 p256.pem >cut.pem
printf -- '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' >garbage.pem
: >empty.pem
cat p256.pem no_issuer.pem >no_issuer-chain.pem
# Files that lose a certificate, or a key, in a reader that skips what it does not know.
{ cat p256.pem; sed 's/CERTIFICATE/TRUSTED CERTIFICATE/' ca.pem; } >label.pem
{ printf '\357\273\277'; cat p256-chain.pem; } >bom.pem
{ cat p256.pem; sed 's/^/  /' ca.pem; } >indented.pem
{ printf '%s' "$(cat p256.pem)"; cat ca.pem; } >joined.pem
{ cat p256.pem; grep -v BEGIN ca.pem; } >no-begin.pem
{ cat p256.pem; grep -v -e '-----' ca.pem; } >bare.pem
{ grep -v END p256.pem; cat ca.pem; } >no-end.pem
{ cat p256.pem; sed 's/-----/----/g' ca.pem; } >dashes.pem
{ cat p256.pem; printf -- '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n'; } >request.pem
cat p256-key.pem p384-key.pem >two-keys.pem
cat p256-chain.pem p256-key.pem >combined.pem
openssl rsa -aes128 -in rsa2048-key.pem -traditional -passout pass:x -out locked-pkcs1.pem
rm ca-key.pem p521-key.pem rsa1024-key.pem

# Authorities that revoke: of the same name another key, one without cRLSign, one that the
# first authorised.
for key in revoker namesake unsigned between; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $key-key.pem
done
issue revoker revoker-key.pem $now $later revoker
SUBJECT=revoker issue namesake namesake-key.pem $now $later revoker
issue unsigned unsigned-key.pem $now $later authority
issue between between-key.pem $now $later revoker revoker

# list NAME CA FROM UNTIL [MORE]: NAME.crl by CA, which revokes two certificates.
list() {
    cat >"$work/crl.cnf" <<END
[ca]
default_ca = here
[here]
database = $work/revoked
crlnumber = $work/number
default_md = sha256
crl_extensions = extensions
[extensions]
authorityKeyIdentifier = keyid
${5:-}
END
    printf 'R\t%s\t%s\t%s\tunknown\t/CN=gone\n' \
        21260101000000Z 260601000000Z 0A 21260101000000Z 260601000000Z,keyCompromise 0B >"$work/revoked"
    echo 01 >"$work/number"
    openssl ca -gencrl -config "$work/crl.cnf" -cert "$2.pem" -keyfile "$2-key.pem" \
        -crl_lastupdate "$3" -crl_nextupdate "$4" -out "$1.crl" 2>"$work/log" || { cat "$work/log"; exit 1; }
}
list revoker revoker $now $later
list between between $now $later
list namesake namesake $now $later
list unsigned unsigned $now $later
list crl-early revoker 21000101000000Z $later
list crl-late revoker $now 20260102000000Z
list delta revoker $now $later '2.5.29.27 = critical, DER:020100'
openssl crl -in revoker.crl -outform DER -out revoker-der.crl
cat between.pem between.crl >between-chain.crl
cat ca.pem between.crl >stranger.crl
printf -- '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n' >garbage.crl
rm revoker-key.pem namesake-key.pem unsigned-key.pem between-key.pem

# answer NAME CERTIFICATE STATUS [OPTION…]: NAME.ocsp, what an OCSP responder says of it.
# No key of the issuer is needed: whose signature counts is for clients to say.
answer() {
    name=$1
    printf "$3\t21260101000000Z\t$4\t%s\tunknown\t/CN=x\n" \
        "$(openssl x509 -in "$2.pem" -noout -serial | cut -d= -f2)" >"$work/answers"
    openssl ocsp -issuer ca.pem -cert "$2.pem" -no_nonce -reqout "$work/request" >"$work/log" 2>&1
    shift 4
    openssl ocsp -index "$work/answers" -CA ca.pem -rsigner p256.pem -rkey p256-key.pem \
        -reqin "$work/request" -respout "$name.ocsp" "$@" >"$work/log" 2>&1 ||
        { cat "$work/log"; exit 1; }
}
# These two begin now; the day of the tests is after it.
answer good p256 V '' -ndays 20000 -resp_no_certs
answer late p256 V '' -nmin 1
answer revoked p256 R 260601000000Z -ndays 20000
answer other p384 V '' -ndays 20000
printf '\060\003\012\001\003' >try-later.ocsp
