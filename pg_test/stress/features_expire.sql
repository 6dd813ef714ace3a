SELECT * FROM lean.expire_online();
