VACUUM items;
