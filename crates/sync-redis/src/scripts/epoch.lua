-- Begins a new epoch over the same rows. ARGV: the epoch, the channel.
if not exists then return {'ok', false} end
call('HDEL', META, '')
call('HSET', META, 'epoch', ARGV[1], 'server', server)
pcall_('PUBLISH', ARGV[2], '')
return {'ok', ARGV[1]}
