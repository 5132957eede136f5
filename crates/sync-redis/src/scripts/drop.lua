-- Removes the space. UNLINK takes a key away at once and frees it in the background. ARGV: unused,
-- the channel.
call('UNLINK', unpack(KEYS, 1, 11))
if exists then pcall_('PUBLISH', ARGV[2], '') end
return {'ok', exists and 1 or 0}
