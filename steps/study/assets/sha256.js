// SHA-256 (FIPS 180-4, section 6.2) of a text's UTF-8: crypto.subtle is not to be had on file:// everywhere.
var SHA_START = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
var SHA_ROUNDS = [
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
];

function rotated(word, bits) { return (word >>> bits) | (word << (32 - bits)); }

function sha256(text) {
  var bytes = new TextEncoder().encode(text);
  // A one bit, zeros, and the length in bits fill the last block of 64 bytes.
  var padded = new Uint8Array((((bytes.length + 8) >> 6) + 1) << 6);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  var view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 0x20000000));
  view.setUint32(padded.length - 4, bytes.length << 3);
  var hash = SHA_START.slice();
  for (var offset = 0; offset < padded.length; offset += 64) shaBlock(hash, view, offset);
  return hash.map(function (word) { return (word >>> 0).toString(16).padStart(8, "0"); }).join("");
}

function shaBlock(hash, view, offset) {
  var words = [];
  for (var t = 0; t < 64; t += 1) {
    if (t < 16) { words[t] = view.getInt32(offset + t * 4); continue; }
    var a = words[t - 15], b = words[t - 2];
    var small0 = rotated(a, 7) ^ rotated(a, 18) ^ (a >>> 3);
    var small1 = rotated(b, 17) ^ rotated(b, 19) ^ (b >>> 10);
    words[t] = (words[t - 16] + small0 + words[t - 7] + small1) | 0;
  }
  var s = hash.slice();
  for (t = 0; t < 64; t += 1) {
    var big1 = rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25);
    var chosen = (s[4] & s[5]) ^ (~s[4] & s[6]);
    var first = (s[7] + big1 + chosen + SHA_ROUNDS[t] + words[t]) | 0;
    var big0 = rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22);
    var most = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    s = [(first + big0 + most) | 0, s[0], s[1], s[2], (s[3] + first) | 0, s[4], s[5], s[6]];
  }
  for (var i = 0; i < 8; i += 1) hash[i] = (hash[i] + s[i]) | 0;
}
